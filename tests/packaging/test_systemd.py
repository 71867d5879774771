"""The units in deploy/systemd: systemd accepts them, langlog knows what is in them, and the page installs files that exist."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from langlog_backbone.process.ending import stop_limit_s
from langlog_backbone.process.environment import FILE_SUFFIX, SECRETS, VARIABLES, read_settings
from langlog_backbone.process.settings import Settings

from tests.docs.blocks import DOCS, blocks
from tests.packaging.test_compose import OURS, check_command
from tests.stack.node_package import missing

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = ("langlog@.service", "langlog.service")
PAGE = DOCS / "how-to" / "systemd.md"
WRITTEN_BY_THE_OPERATOR = {"database_uri", "redis_uri", "langlog_secret"}
SAFE = 20
"""Exposure in tenths, of 100, that `systemd-analyze security` may find at most."""
LIMIT_S = 120


class Unit(dict[str, list[str]]):
    """Key -> its values, of the part [Service]."""

    def __init__(self, name: str) -> None:
        section = (UNITS / name).read_text().partition("[Service]\n")[2].partition("\n[")[0]
        for line in section.splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.partition("=")
                self.setdefault(key, []).append(value)

    def one(self, key: str) -> str:
        (value,) = self[key]
        return value


def variables(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("path", sorted(x for x in UNITS.iterdir() if x.suffix != ".env"), ids=lambda path: path.name)
def test_a_unit_parses(path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read_string(path.read_text())
    assert {"Unit", "Install"} <= set(unit.sections())


@pytest.mark.parametrize("service", OURS)
def test_the_template_runs_a_command_that_langlog_has(service: str) -> None:
    words = shlex.split(Unit("langlog@.service").one("ExecStart").replace("%i", service))
    check_command(words[1:])


def test_the_single_service_runs_langlog_dev_in_its_state_directory() -> None:
    unit = Unit("langlog.service")
    words = shlex.split(unit.one("ExecStart"))
    check_command(words[1:])
    assert words[words.index("--data-dir") + 1] == f"/var/lib/{unit.one('StateDirectory')}"


def test_the_single_service_reads_no_file_of_the_four() -> None:
    """A machine that has both would otherwise run the embedded one on the others' Kafka."""
    assert (
        Unit("langlog.service").one("EnvironmentFile").removeprefix("-")
        not in Unit("langlog@.service")["EnvironmentFile"]
    )


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting_and_no_secret(service: str) -> None:
    given = variables((UNITS / "langlog.env").read_text()) | variables((UNITS / f"{service}.env").read_text())
    names = {name: field for field, known in VARIABLES.items() for name in known}
    assert set(given) <= set(names)
    assert not {names[name] for name in given} & SECRETS
    found = read_settings(given)
    assert found.health_port and found.log_uri and found.production
    assert stop_limit_s(found) + 5 <= int(Unit("langlog@.service").one("TimeoutStopSec"))


def test_no_two_services_of_a_machine_share_a_port() -> None:
    ports = [read_settings(variables((UNITS / f"{service}.env").read_text())).health_port for service in OURS]
    assert len({*ports, Settings().port}) == len(OURS) + 1


def test_each_secret_is_a_credential_that_a_setting_reads() -> None:
    unit = Unit("langlog@.service")
    files = {value.partition(":")[0] for value in unit["LoadCredential"]}
    named = dict(value.split("=", 1) for value in unit["Environment"])
    assert {value.removeprefix("%d/") for value in named.values()} == files == WRITTEN_BY_THE_OPERATOR
    known = {name + FILE_SUFFIX for field in SECRETS for name in VARIABLES[field]}
    assert set(named) <= known


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_stopped_gently_and_comes_back(name: str) -> None:
    unit = Unit(name)
    assert int(unit.one("TimeoutStopSec")) >= stop_limit_s(Settings()) + 5
    assert unit.one("KillMode") == "mixed", "SIGTERM to the workers as well would end them before their runs drain"
    assert unit.one("Restart") == "always"
    assert "StartLimitIntervalSec=0" in (UNITS / name).read_text(), "systemd would give up after five starts"


def test_the_drop_in_of_the_page_gives_a_longer_drain_its_time() -> None:
    (drop_in,) = [block.text for block in blocks(PAGE) if block.title == "drain.conf"]
    drain = re.search(r"LANGLOG_DRAIN_SECS=(\d+)", drop_in)
    limit = re.search(r"TimeoutStopSec=(\d+)", drop_in)
    assert drain and limit
    assert int(limit[1]) >= stop_limit_s(Settings(drain_s=float(drain[1]))) + 5


def test_the_page_installs_every_file_and_none_that_does_not_exist() -> None:
    words = [word for block in blocks(PAGE) if block.language == "sh" for word in shlex.split(block.text)]
    named = {word.removeprefix("deploy/systemd/") for word in words if word.startswith("deploy/systemd/")}
    assert named == {path.name for path in UNITS.iterdir()}
    enabled = {word.partition("@")[2] for word in words if word.startswith("langlog@")} - {".service"}
    assert enabled == set(OURS)


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("systemd-analyze is not installed")
    return str(found)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as on a machine on which langlog stands where this one has it."""
    program = Path(sys.executable).with_name("langlog")
    for name in (*SERVICES, "langlog.target"):
        text = (UNITS / name).read_text().replace("/srv/langlog/.venv/bin/langlog", str(program))
        (tmp_path / name).write_text(text)
    for service in OURS:
        shutil.copy(tmp_path / "langlog@.service", tmp_path / f"langlog@{service}.service")
    return tmp_path


def test_systemd_accepts_the_units(analyze: str, installed: Path) -> None:
    names = [installed / f"langlog@{service}.service" for service in OURS]
    units = [str(path) for path in (*names, installed / "langlog.service", installed / "langlog.target")]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=LIMIT_S, cwd=installed
    )
    assert done.returncode == 0, done.stderr
    reported = [line for line in done.stderr.splitlines() if str(installed) in line]
    # systemd 254 brought these; an older one says that it passes them over
    ours = [line for line in reported if not re.search(r"'(RestartSteps|RestartMaxDelaySec)'", line)]
    assert ours == []


@pytest.mark.parametrize("name", ["langlog@gateway.service", "langlog.service"])
def test_systemd_finds_the_units_safe(name: str, analyze: str, installed: Path) -> None:
    words = [analyze, "security", "--no-pager", "--offline=true", f"--threshold={SAFE}", str(installed / name)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, cwd=installed)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd before 250 cannot judge a file")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
