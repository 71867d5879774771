"""``langlog dockerfile`` and ``langlog build``: an image of a project. Options have the names of langgraph-cli's."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from langlog_backbone.project.config import Project


def _image_name(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    from ..projects.image_keys import IMAGE_NAME

    if name and not IMAGE_NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is not the name of an image")
    return name


base_image = click.option(
    "--base-image",
    metavar="IMAGE",
    callback=_image_name,
    help="Build on this image of langlog.  [base_image in langgraph.json; langlog:PYTHON]",
)
api_version = click.option(
    "--api-version", help="Accepted without effect: the base image determines which langlog runs.", expose_value=False
)

engine_runtime_mode = click.option(
    "--engine-runtime-mode", expose_value=False, help="Accepted without effect: one image runs as any service."
)


def checked_project(file: Path | None) -> Project:
    """Return the project if an image can be built of it; warnings go to stderr. Raises click.ClickException with the errors otherwise."""
    from langlog_backbone.process.environment import read_settings

    from ..projects.check import check

    file = file if file is not None else read_settings().project
    project, problems = check(file)
    errors = [problem for problem in problems if problem.level == "error"]
    for problem in problems:
        if problem.level == "warning":
            click.echo(f"langlog: {file.name}: {problem.text}", err=True)
    if errors or project is None:
        lines = "\n".join(f"  {problem.text}" for problem in errors)
        raise click.ClickException(f"no image can be built from {file} (see `langlog validate`):\n{lines}")
    return project


@click.command("dockerfile", short_help="Write a Dockerfile of the project.")
@click.argument("save_path", type=click.Path(dir_okay=False, path_type=Path))
@options.config
@click.option("--add-docker-compose", is_flag=True, help="Write docker-compose.yml, .dockerignore and .env beside it.")
@base_image
@api_version
@engine_runtime_mode
def dockerfile(save_path: Path, project: Path | None, base_image: str | None, *, add_docker_compose: bool) -> None:
    """Write a Dockerfile of the project to SAVE_PATH (- for the terminal), to be built in the folder of langgraph.json."""
    from .compose import write_beside
    from .dockerfile import recipe

    checked = checked_project(project)
    made = recipe(checked, base_image=base_image)
    if str(save_path) == "-":
        click.echo(made.dockerfile, nl=False)
        return
    try:
        save_path.write_text(made.dockerfile, encoding="utf-8")
        click.echo(f"wrote {save_path}")
        if add_docker_compose:
            for line in write_beside(save_path, checked, made):
                click.echo(line)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or save_path} cannot be written: {error.strerror or error}"
        ) from None
    contexts = [f"--build-context={name}={path}" for name, path in made.contexts.items()]
    command = ["docker", "build", "-f", str(save_path), *contexts, "-t", "IMAGE", str(made.context)]
    click.echo(f"build it by: {shlex.join(command)}")


@click.command(
    "build",
    short_help="Build an image of the project.",
    context_settings={"ignore_unknown_options": True},
)
@options.config
@click.option("-t", "--tag", required=True, help="Name of the image.")
@base_image
@click.option("--pull/--no-pull", default=False, show_default=True, help="Pull a newer base image from the registry.")
@click.option(
    "--builder", type=click.Choice(["docker", "podman", "buildah"]), help="Program to build with.  [the first of these]"
)
@api_version
@engine_runtime_mode
@click.argument("build_args", nargs=-1, type=click.UNPROCESSED)
def build(
    project: Path | None,
    tag: str,
    base_image: str | None,
    builder: str | None,
    build_args: tuple[str, ...],
    *,
    pull: bool,
) -> None:
    """Build an image of the project. Arguments after -- are passed to the builder: langlog build -t x -- --no-cache."""
    from . import builders
    from .dockerfile import recipe

    checked = checked_project(project)
    program = builders.builder(builder)
    builders.build(recipe(checked, base_image=base_image), builder=program, tag=tag, pull=pull, more=build_args)
    runner = "docker" if program == "docker" else "podman"
    click.echo(f"built {tag}: {runner} run --rm -p 127.0.0.1:2024:2024 {shlex.quote(tag)}")
