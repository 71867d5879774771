"""Programs that build and run images: docker, podman, buildah. Each is called as its user would call it.

Source of the options: docs.docker.com/reference/cli/docker/buildx/build, podman-build(1), buildah-build(1).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from .dockerfile import Recipe

BUILDERS = ("docker", "podman", "buildah")
INSTALL = "install Docker (https://docs.docker.com/get-docker/) or Podman"


def builder(name: str | None) -> str:
    """Return the program to build with: that of this name, or the first that is installed. Raises click.ClickException."""
    for each in BUILDERS if name is None else (name,):
        if shutil.which(each):
            return each
    wanted = "none of docker, podman and buildah is" if name is None else f"{name} is not"
    raise click.ClickException(
        f"{wanted} installed: {INSTALL}. `langlog dockerfile Dockerfile` writes what would be built; "
        "`langlog dev` serves the project without an image."
    )


def build(recipe: Recipe, *, builder: str, tag: str, pull: bool, more: Sequence[str] = ()) -> None:
    """Build and tag an image, with the builder's own output. Raises click.ClickException when it fails.

    A project without a .dockerignore gets one of ours, for this build alone.
    """
    with tempfile.TemporaryDirectory(prefix="langlog-build-") as folder:
        file = Path(folder, "Dockerfile")
        file.write_text(recipe.dockerfile, encoding="utf-8")
        command = command_line(recipe, file, builder=builder, tag=tag, pull=pull, more=more)
        try:
            code = subprocess.run(command, check=False).returncode  # noqa: S603 - the builder, with the user's own arguments
        except OSError as error:
            raise click.ClickException(f"{builder} cannot be started: {error.strerror or error}") from None
    if code != 0:
        raise click.ClickException(f"{builder} ended with code {code}: its output gives the reason{_hint(recipe)}")


def command_line(
    recipe: Recipe, file: Path, *, builder: str, tag: str, pull: bool, more: Sequence[str] = ()
) -> list[str]:
    """Return the builder's command. ``file``: path of the Dockerfile; ignored names are written beside it."""
    command = [builder, "build", "-f", str(file), "-t", tag]
    if pull:
        command.append("--pull")
    if not (recipe.context / ".dockerignore").exists():
        ignored = file.with_name("Dockerfile.dockerignore")  # the name that BuildKit expects
        ignored.write_text("\n".join(recipe.ignored) + "\n", encoding="utf-8")
        if builder != "docker":
            command += ["--ignorefile", str(ignored)]
    for name, path in recipe.contexts.items():
        command += ["--build-context", f"{name}={path}"]
    return [*command, *more, str(recipe.context)]


def _hint(recipe: Recipe) -> str:
    base = recipe.dockerfile.split("\n", 1)[0].removeprefix("FROM ")
    if "/" in base:
        return ""
    return (
        f". If it has no image {base!r}, make that first, in a clone of langlog: "
        f"docker build --target server --build-arg PYTHON_VERSION={base.partition(':')[2].partition('-')[0]} -t {base} ."
    )
