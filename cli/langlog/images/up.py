"""``langlog up``: the project's image with all services, by compose on this machine."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from .. import options
from . import commands

DEFAULT_PORT = 8123
"""Port, the same as in `langgraph up`."""
WITHOUT = "`langlog dev` serves the project on this machine without containers."


def compose_command() -> list[str]:
    """Return the compose command of this machine. Raises click.ClickException with the next step if there is none."""
    reasons: list[str] = []
    for command, needs in ((["docker", "compose"], ["docker", "info"]), (["podman", "compose"], ["podman", "info"])):
        if not shutil.which(command[0]):
            reasons.append(f"{command[0]} is not installed")
        elif not _succeeds([*command, "version"]):
            reasons.append(f"{' '.join(command)} is not installed (https://docs.docker.com/compose/install/)")
        elif not _succeeds(needs):
            reasons.append(f"{command[0]} is installed and not running: start it")
        else:
            return command
    raise click.ClickException(f"containers cannot be started here: {'; '.join(reasons)}. {WITHOUT}")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0  # noqa: S603 - a fixed command
    except (OSError, subprocess.TimeoutExpired):
        return False


@click.command("up", short_help="Build the project's image and run all services of it by compose.")
@options.config
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Port on this machine."
)
@click.option(
    "-d",
    "--docker-compose",
    "other",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A compose file with more services.",
)
@click.option("--image", help="Run this image of the project instead of building one.")
@commands.base_image
@click.option("--pull/--no-pull", default=False, show_default=True, help="Pull newer images from the registry.")
@click.option(
    "--recreate/--no-recreate", default=False, show_default=True, help="Make containers anew, even if nothing changed."
)
@click.option("--watch", is_flag=True, help="Build and start again when the project's files change.")
@click.option("--wait", is_flag=True, help="Return once all is healthy, and leave it running.")
@click.option("--postgres-uri", help="Use this Postgres instead of starting one.")
@click.option("--verbose", is_flag=True, help="Show the output of all services, not of ours alone.")
@click.option("--debugger-port", expose_value=False, help="Accepted without effect: the console is at /console.")
@click.option("--debugger-base-url", expose_value=False, help="Accepted without effect.")
@commands.api_version
@commands.engine_runtime_mode
def up(
    project: Path | None,
    port: int,
    other: Path | None,
    image: str | None,
    base_image: str | None,
    postgres_uri: str | None,
    *,
    pull: bool,
    recreate: bool,
    watch: bool,
    wait: bool,
    verbose: bool,
) -> None:
    """Build the project's image and run gateway, executor, projector and scheduler of it, with Kafka, Postgres and Redis.

    Prints the address once all services are healthy, then their output. Ctrl-C stops them; their data stays.
    """
    from .compose import OURS, as_yaml, compose, inline_build, project_name
    from .dockerfile import recipe

    if watch and image:
        raise click.UsageError("--watch builds the image again, and --image uses one that exists: give one of them")
    checked = commands.checked_project(project)
    program = compose_command()
    name = project_name(checked)
    build = None if image else inline_build(recipe(checked, base_image=base_image), pull=pull)
    content = compose(
        checked, port=port, image=image or f"{name}:latest", build=build, postgres_uri=postgres_uri, watch=watch
    )
    with _file(as_yaml(content)) as file:
        command = [*program, "--project-name", name, "--project-directory", str(checked.root)]
        for each in (other, file):
            command += ["-f", str(each)] if each is not None else []
        _run(
            [
                *command,
                "up",
                "--detach",
                "--wait",
                "--remove-orphans",
                *up_options(build=bool(build), pull=pull, recreate=recreate),
            ]
        )
        click.echo(f"ready: http://localhost:{port}  (console: http://localhost:{port}/console)")
        if wait:
            click.echo(f"stop it by: {' '.join(program)} --project-name {name} down")
            return
        try:
            _run(
                [*command, "watch", "--no-up"] if watch else [*command, "logs", "--follow", *([] if verbose else OURS)]
            )
        except KeyboardInterrupt:
            click.echo("stopping", err=True)
        finally:
            _run([*command, "stop"])


def up_options(*, build: bool, pull: bool, recreate: bool) -> list[str]:
    """Return the options of ``compose up``. Images of other services are pulled if they are missing, and with ``pull`` always."""
    return [
        *(["--build"] if build else []),
        *(["--pull", "always"] if pull and not build else []),
        *(["--force-recreate", "--renew-anon-volumes"] if recreate else []),
    ]


@contextlib.contextmanager
def _file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="langlog-up-") as folder:
        path = Path(folder, "docker-compose.yml")
        path.touch(mode=0o600)  # `env` of langgraph.json may hold keys
        path.write_text(text, encoding="utf-8")
        yield path


def _run(command: list[str]) -> None:
    """Run a command. Raises click.ClickException if it fails."""
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - compose, with options of ours
    if code not in (0, 130):  # 130: the user pressed Ctrl-C
        raise click.ClickException(
            f"{' '.join(command[:2])} ended with code {code}: its output gives the reason. {WITHOUT}"
        )
