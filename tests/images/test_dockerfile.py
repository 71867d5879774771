"""The Dockerfile of a project: each key of langgraph.json about images, read back by a parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from langgraph_cli.cli import cli as langgraph_cli
from langlog.images.builders import command_line
from langlog.images.dockerfile import IGNORED, Recipe, recipe
from langlog.main import cli
from langlog.projects.check import check
from langlog_backbone.project.config import read_project

from .projects import PYPROJECT, instructions, project

UV = "uv pip install --system --no-cache -c /api/constraints.txt"
PIP = "python -m pip install --no-cache-dir --root-user-action ignore -c /api/constraints.txt"
REMOVED = "python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel && rm -f /usr/bin/uv /usr/bin/uvx"
COPY = ("COPY", ". /project")


def made(file: Path, **more: Any) -> Recipe:
    assert [p for p in check(file)[1] if p.level == "error"] == []
    return recipe(read_project(file), **more)


def between(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the lines between the first lines, ``FROM`` and ``USER root``, and the last ones."""
    lines = instructions(recipe.dockerfile)
    assert [line[0] for line in lines[:2]] == ["FROM", "USER"]
    return lines[2:-4] if lines[-2][0] == "RUN" else lines[2:-3]


def test_a_plain_project_is_copied_and_runs_as_nobody_special(tmp_path: Path) -> None:
    assert instructions(made(project(tmp_path)).dockerfile) == [
        ("FROM", "langlog:3.12"),
        ("USER", "root"),
        COPY,
        ("ENV", "LANGLOG_PROJECT=/project/langgraph.json"),
        ("WORKDIR", "/project"),
        ("RUN", REMOVED),
        ("USER", "10001:10001"),
    ]


@pytest.mark.parametrize(
    ("config", "base_image", "base"),
    [
        ({"python_version": "3.13"}, None, "langlog:3.13"),
        ({"image_distro": "bookworm"}, None, "langlog:3.12-bookworm"),
        ({"image_distro": "debian"}, None, "langlog:3.12"),
        ({"image_distro": "wolfi"}, None, "langlog:3.12"),
        (
            {"image_distro": "wolfi", "base_image": "registry.example/langlog"},
            None,
            "registry.example/langlog:3.12-wolfi",
        ),
        ({"base_image": "registry.example:5000/langlog"}, None, "registry.example:5000/langlog:3.12"),
        ({"base_image": "langlog:1.2"}, None, "langlog:1.2"),
        ({"base_image": "langlog@sha256:abc"}, None, "langlog@sha256:abc"),
        ({"base_image": "langchain/langgraph-api"}, None, "langlog:3.12"),
        ({"base_image": "langlog:1.2"}, "mine", "mine:3.12"),
        ({}, "localhost/langlog:x", "localhost/langlog:x"),
    ],
)
def test_the_base_image(tmp_path: Path, config: dict[str, Any], base_image: str | None, base: str) -> None:
    assert instructions(made(project(tmp_path, **config), base_image=base_image).dockerfile)[0] == ("FROM", base)


@pytest.mark.parametrize(
    ("files", "config", "lines"),
    [
        ({}, {"dockerfile_lines": ["RUN apt-get update && \\", "    true", "ENV A=b"]}, [
            ("RUN", "apt-get update && true"), ("ENV", "A=b"), COPY,
        ]),
        ({}, {"dependencies": [".", "langchain-openai", "httpx>=0.28; python_version < '4'"]}, [
            ("RUN", f"{UV} langchain-openai 'httpx>=0.28; python_version < '\"'\"'4'\"'\"''"), COPY,
        ]),
        ({"requirements.txt": "httpx\n"}, {}, [
            ("COPY", "requirements.txt /project/requirements.txt"), ("RUN", f"{UV} -r /project/requirements.txt"), COPY,
        ]),
        ({"pyproject.toml": PYPROJECT}, {}, [
            ("COPY", "pyproject.toml /project/pyproject.toml"), ("RUN", f"{UV} -r /project/pyproject.toml"), COPY,
            ("RUN", f"{UV} -e /project"),
        ]),
        ({"pyproject.toml": PYPROJECT.replace("dependencies =", "dynamic = ['dependencies']\nx =")}, {}, [
            COPY, ("RUN", f"{UV} -e /project"),
        ]),
        ({"pyproject.toml": PYPROJECT + "[tool.uv.sources]\nhttpx = {path = '../x'}\n"}, {}, [
            COPY, ("RUN", f"{UV} -e /project"),
        ]),
        ({"setup.py": ""}, {"pip_installer": "pip"}, [COPY, ("RUN", f"{PIP} -e /project")]),
        ({"setup.py": ""}, {"pip_installer": "uv"}, [COPY, ("RUN", f"{UV} -e /project")]),
        ({"setup.py": "", "pip.conf": ""}, {"pip_config_file": "./pip.conf"}, [
            COPY,
            ("RUN", f"--mount=type=bind,source=pip.conf,target=/run/pip.conf PIP_CONFIG_FILE=/run/pip.conf {PIP} -e /project"),
        ]),
        ({"lib/requirements.txt": "x", "lib/a.py": "", "agents/agent.py": "graph = 1"},
         {"dependencies": ["./lib", "./agents"], "graphs": {"a": "./agents/agent.py:graph"}}, [
            ("COPY", "lib/requirements.txt /project/lib/requirements.txt"), ("RUN", f"{UV} -r /project/lib/requirements.txt"),
            ("COPY", "lib /project/lib"), ("COPY", "agents /project/agents"),
            ("COPY", "langgraph.json /project/langgraph.json"),
        ]),
        ({"a b/x.py": ""}, {"dependencies": [".", "./a b"]}, [COPY, ("COPY", '["a b", "/project/a b"]')]),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_installed_and_copied(
    tmp_path: Path, files: dict[str, str], config: dict[str, Any], lines: list[tuple[str, str]]
) -> None:
    assert [
        (name, " ".join(value.split())) for name, value in between(made(project(tmp_path, files, **config)))
    ] == lines


@pytest.mark.parametrize(
    ("keep", "removed"),
    [
        (False, REMOVED),
        (True, None),
        (["pip"], "python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel"),
        (["setuptools", "wheel"], REMOVED.replace(" setuptools wheel", "")),
    ],
)
def test_packaging_tools_are_removed_unless_they_are_kept(tmp_path: Path, keep: Any, removed: str | None) -> None:
    lines = instructions(made(project(tmp_path, keep_pkg_tools=keep)).dockerfile)
    assert [value for name, value in lines if name == "RUN"] == ([removed] if removed else [])


def test_a_folder_beside_the_project_keeps_its_place(tmp_path: Path) -> None:
    for name in ("Shared Code", "shared-code"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "setup.py").write_text("")
    file = project(tmp_path, dependencies=[".", "../Shared Code", "../shared-code"])
    result = made(file)
    assert result.contexts == {"shared-code": tmp_path / "Shared Code", "shared-code-2": tmp_path / "shared-code"}
    assert result.context == file.parent
    lines = instructions(result.dockerfile)
    assert [value for name, value in lines if name == "COPY"] == [
        ". /project/app",
        '--from=shared-code [".", "/project/Shared Code"]',
        "--from=shared-code-2 . /project/shared-code",
    ]
    assert ("RUN", f"{UV} -e '/project/Shared Code' -e /project/shared-code") in lines
    assert lines[-4:-2] == [("ENV", "LANGLOG_PROJECT=/project/app/langgraph.json"), ("WORKDIR", "/project/app")]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"__init__.py": ""}, "/project/app"),
        ({"__init__.py": "", "pyproject.toml": PYPROJECT}, "/project"),
        ({}, "/project"),
    ],
)
def test_a_project_that_is_a_package_keeps_its_name(files: dict[str, str], place: str, tmp_path: Path) -> None:
    lines = instructions(made(project(tmp_path, files)).dockerfile)
    assert ("COPY", f". {place}") in lines
    assert ("ENV", f"LANGLOG_PROJECT={place}/langgraph.json") in lines
    assert ("WORKDIR", place) in lines


def test_a_project_with_a_lock_is_installed_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*"]\nexclude = ["old"]\n')
    for name in ("lib", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(PYPROJECT)
    source = {"kind": "uv", "root": "..", "package": "refunds"}
    result = made(project(tmp_path, {"pyproject.toml": PYPROJECT}, dependencies=..., source=source))
    assert result.context == tmp_path
    export = "uv export --quiet --frozen --no-dev --no-hashes --no-header --package refunds"
    assert between(result) == [
        ("COPY", "pyproject.toml uv.lock /project/"),
        ("COPY", "app/pyproject.toml /project/app/pyproject.toml"),
        ("COPY", "lib/pyproject.toml /project/lib/pyproject.toml"),
        ("WORKDIR", "/project"),
        ("RUN", f"{export} --no-emit-workspace -o .langlog-locked.txt && {UV} --no-deps -r .langlog-locked.txt"),
        COPY,
        (
            "RUN",
            f"{export} -o .langlog-locked.txt && uv pip install --system --no-cache --no-deps -r .langlog-locked.txt && rm .langlog-locked.txt",
        ),
    ]
    assert ("ENV", "LANGLOG_PROJECT=/project/app/langgraph.json") in instructions(result.dockerfile)


def test_the_command_of_each_builder(tmp_path: Path) -> None:
    result = made(project(tmp_path))
    context = str(result.context)
    file = tmp_path / "Dockerfile"
    first = ["build", "-f", str(file), "-t", "x"]
    assert command_line(result, file, builder="docker", tag="x", pull=True, more=["--no-cache"]) == [
        *("docker", *first, "--pull", "--no-cache", context)
    ]
    ignored = tmp_path / "Dockerfile.dockerignore"
    assert ignored.read_text().split("\n") == [*IGNORED, ""]
    assert command_line(result, file, builder="buildah", tag="x", pull=False) == [
        *("buildah", *first, "--ignorefile", str(ignored), context)
    ]
    ignored.unlink()
    (result.context / ".dockerignore").write_text("")
    assert command_line(result, file, builder="podman", tag="x", pull=False) == ["podman", *first, context]
    assert not ignored.exists()


def test_the_command_writes_what_would_be_built(tmp_path: Path) -> None:
    file = project(tmp_path)
    target = tmp_path / "out" / "Dockerfile"
    target.parent.mkdir()
    result = CliRunner().invoke(cli, ["dockerfile", str(target), "-c", str(file)])
    assert result.exit_code == 0, result.output
    assert target.read_text() == made(file).dockerfile
    assert f"docker build -f {target} -t IMAGE {file.parent}" in result.output
    shown = CliRunner().invoke(cli, ["dockerfile", "-", "-c", str(file), "--base-image", "mine"])
    assert shown.output == made(file, base_image="mine").dockerfile


@pytest.mark.parametrize("command", [["dockerfile", "-"], ["build", "-t", "x"], ["up"]])
def test_a_project_with_errors_gets_no_image(tmp_path: Path, command: list[str]) -> None:
    file = project(tmp_path, graphs={"a": "./gone.py:graph", "b": "./gone.ts:graph"})
    result = CliRunner().invoke(cli, [*command, "-c", str(file)])
    assert result.exit_code == 1
    assert "no image can be built" in result.output
    assert "'./gone.py' does not exist" in result.output
    assert "'./gone.ts' does not exist" in result.output


def test_without_a_builder_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in (["build", "-t", "x"], ["build", "-t", "x", "--builder", "podman"]):
        result = CliRunner().invoke(cli, [*command, "-c", str(file)])
        assert result.exit_code == 1
        assert "langlog dockerfile" in result.output and "langlog dev" in result.output
    result = CliRunner().invoke(cli, ["up", "-c", str(file)])
    assert result.exit_code == 1
    assert "docker is not installed" in result.output and "langlog dev" in result.output


def test_a_build_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder fails: here because of an unknown option."""
    (tmp_path / "buildah").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(cli, ["build", "-t", "x", "-c", str(project(tmp_path))])
    assert result.exit_code == 1
    assert "ended with code 1" in result.output
    assert "docker build --target server --build-arg PYTHON_VERSION=3.12 -t langlog:3.12 ." in result.output


def test_langgraph_json_is_read_as_it_stands_in_the_image(tmp_path: Path) -> None:
    """Nothing of it is rewritten: the copy keeps its graphs, sections and relative paths."""
    file = project(tmp_path, store={"ttl": {"default_ttl": 1}}, http={"mount_prefix": "/x"})
    assert "mount_prefix" not in made(file).dockerfile
    assert json.loads(file.read_text())["http"] == {"mount_prefix": "/x"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_image", "x\nRUN evil"),
        ("base_image", "x AS y"),
        ("base_image", "--platform=x y"),
        ("dependencies", [".", "a\nRUN evil"]),
        ("dependencies", [".", "-r /etc/passwd"]),
        ("dependencies", [".", " "]),
        ("dependencies", [".", "x @ https://name:password@example.com/x.whl"]),
        ("dependencies", [".", "./it's"]),
        ("dependencies", [".", "./$HOME"]),
        ("dependencies", [".", "./[a]"]),
        ("dependencies", [".", "./a\nRUN evil"]),
        ("pip_config_file", "a b.conf"),
        ("pip_config_file", "a,target=b.conf"),
        ("dockerfile_lines", ["RUN x \\"]),
        ("dockerfile_lines", ["RUN <<EOF", "x"]),
    ],
)
def test_what_would_mean_something_else_in_a_dockerfile_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    file = project(tmp_path, {"a b.conf": "", "a,target=b.conf": ""}, **{key: value})
    for name in value if key == "dependencies" else []:
        (file.parent / name).mkdir(parents=True, exist_ok=True) if name.startswith("./") else None
    assert [problem.key for problem in check(file)[1] if problem.level == "error"] == [key]


def test_here_documents_are_read_to_their_ends(tmp_path: Path) -> None:
    lines = ["COPY <<A <<B /x/", "a", "A", "b", "B", "RUN cat <<<hi", "RUN a && \\", "  b"]
    assert made(project(tmp_path, dockerfile_lines=lines)).dockerfile.count("<<A <<B") == 1


def test_a_base_image_of_the_command_line_is_checked_as_well(tmp_path: Path) -> None:
    file = project(tmp_path)
    done = CliRunner().invoke(cli, ["dockerfile", "-", "-c", str(file), "--base-image", "x\nRUN evil"])
    assert (done.exit_code, "is not the name of an image" in done.stderr) == (2, True)


def test_dotenv_files_of_any_folder_and_name_are_left_out(tmp_path: Path) -> None:
    file = project(tmp_path, {"config/prod[1].txt": "KEY=1"}, env="./config/prod[1].txt")
    patterns = made(file).ignored
    assert {"**/.env", "**/.env.*", "**/.git", "**/.venv"} < set(patterns)
    assert patterns[-1] == r"config/prod\[1\].txt"
    assert made(project(tmp_path, env="./nope.env")).ignored == IGNORED


def test_a_dotenv_file_outside_of_the_project_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / ".env").write_text("KEY=1")
    file = project(tmp_path, dependencies=[".", "../shared"])
    (text,) = [problem.text for problem in check(file)[1]]
    assert "an image would hold its .env" in text
    (tmp_path / "shared" / ".dockerignore").write_text(".env")
    assert check(file)[1] == []


@pytest.mark.parametrize(
    "text",
    [
        "[tool.uv]\nworkspace = 3",
        "tool = 3",
        '[tool.uv.workspace]\nmembers = ["/x/*", "../*", "", 1, "**"]',
        "project = 3",
    ],
)
def test_a_manifest_with_odd_tables_ends_in_no_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "pyproject.toml").write_text(PYPROJECT)
    files = {"pyproject.toml": text, "uv.lock": ""}
    assert "beside" not in made(project(tmp_path, files, dependencies=..., source={"kind": "uv"})).dockerfile
    made(project(tmp_path, files))


def test_printed_commands_can_be_copied(tmp_path: Path) -> None:
    """Names with spaces are quoted, and the image's name is one."""
    folder = tmp_path / "My Agent"
    assert f"cd '{folder}' && langlog dev" in CliRunner().invoke(cli, ["new", str(folder), "--template", "chat"]).stdout
    command = ["dockerfile", str(folder / "Dockerfile"), "-c", str(folder / "langgraph.json"), "--add-docker-compose"]
    done = CliRunner().invoke(cli, command)
    assert f"docker build -f '{folder}/Dockerfile' -t IMAGE '{folder}'" in done.stdout
    assert "image: my-agent:latest" in (folder / "docker-compose.yml").read_text()


@pytest.mark.parametrize("name", ["validate", "new", "dockerfile", "build", "up"])
def test_commands_take_the_options_of_langgraph_cli(name: str) -> None:
    """But for those that docs/how-to/from-langgraph-dev.md names."""

    def options(command: click.Command) -> set[str]:
        return {
            option
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }

    theirs, ours = langgraph_cli.commands[name], cli.get_command(click.Context(cli), name)
    assert ours is not None
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "from-langgraph-dev.md").read_text()
    missing = options(theirs) - options(ours)
    assert all(f"`{option}`" in page for option in missing), missing
