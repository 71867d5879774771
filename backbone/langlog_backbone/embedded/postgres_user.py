"""The user that the embedded Postgres runs as: it refuses root, and its ``initdb`` refuses a user without an entry in ``/etc/passwd``.

* An ordinary user: Postgres runs as that user.
* Root with the rights to change the user: as the owner of the data or of the folder around them, else ``postgres`` or
  ``nobody``. That user may not be able to enter
  root's folders (a home of mode 0700), so one capability goes along, CAP_DAC_OVERRIDE, which opens them without changing their modes.
* Root without those rights (a container, a user namespace of its own), and a user without an entry (OpenShift gives a random one): as
  the same user inside a user namespace in which no user is mapped. Inside, every user is the overflow user, ``nobody``, which is neither
  root nor unknown; outside, the kernel goes on with the real user, so all files keep their owner and no file changes its mode.

Sources: user_namespaces(7) "Unmapped user and group IDs", capabilities(7) "The securebits flags". Linux alone has the last two.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..process.service import StartError

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 4
_CAP_CHOWN = 0
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class PostgresUser(msgspec.Struct, frozen=True, kw_only=True):
    """``become`` is called between fork and exec; ``uid`` and ``gid`` then own what Postgres makes, as seen from here."""

    uid: int
    gid: int
    become: Callable[[], None] | None = None


def postgres_user(program: Path, data: Path) -> PostgresUser:
    """Return the user for a Postgres that runs ``program`` on the folder ``data``, which need not exist.

    Raises StartError when no user can run it there: one line with what to do. Blocks for some milliseconds.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 and _in_passwd(uid):
        return PostgresUser(uid=uid, gid=gid)
    if uid != 0:
        named = (data / "PG_VERSION").exists()  # Postgres itself needs no entry
        candidates = [PostgresUser(uid=uid, gid=gid)] if named else list(_in_namespace(uid, gid))
    else:
        candidates = list(_candidates_of_root(data))
    for candidate in candidates:
        if _can_run(candidate, program, data):
            return candidate
    if uid != 0:
        raise StartError(
            f"user {uid} has no entry in /etc/passwd, which the embedded Postgres needs:"
            f" add one (langlog:x:{uid}:{gid}::/tmp:/sbin/nologin), or set DATABASE_URI"
        )
    owner = _owner(data)
    if owner is not None and owner.st_uid != 0:
        raise StartError(
            f"{data} belongs to user {owner.st_uid}, whom this root cannot run Postgres as:"
            f" run langlog as user {owner.st_uid}, or set DATABASE_URI"
        )
    raise StartError(
        f"the embedded Postgres does not run as root, and this root cannot run {program} on {data.parent} as anybody else:"
        " run langlog as an ordinary user that may enter both folders, or set DATABASE_URI"
    )


def _candidates_of_root(data: Path) -> Iterator[PostgresUser]:
    """Yield candidates for root. If there are data, only their owner: Postgres accepts no other."""
    if (owner := _owner(data)) is not None:
        if owner.st_uid != 0:
            yield PostgresUser(uid=owner.st_uid, gid=owner.st_gid, become=_become(owner.st_uid, owner.st_gid))
        else:
            yield from _in_namespace(0, os.getegid())
        return
    if (owner := _owner(data.parent)) is not None and owner.st_uid != 0:
        become = _become(owner.st_uid, owner.st_gid)
        if _in_passwd(owner.st_uid):
            yield PostgresUser(uid=owner.st_uid, gid=owner.st_gid, become=become)
        else:
            yield from _in_namespace(owner.st_uid, owner.st_gid, become)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            yield PostgresUser(uid=user.pw_uid, gid=user.pw_gid, become=_become(user.pw_uid, user.pw_gid))
    yield from _in_namespace(0, os.getegid())


def _in_namespace(uid: int, gid: int, first: Callable[[], None] | None = None) -> Iterator[PostgresUser]:
    """Yield a user inside a user namespace; nothing where namespaces do not exist. ``first`` changes the user before."""
    libc = _libc
    if libc is None or not _in_passwd(_overflow_user()):
        return

    def become() -> None:
        if first is not None:
            first()
        if libc.unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare")

    yield PostgresUser(uid=uid, gid=gid, become=become)


def _become(uid: int, gid: int) -> Callable[[], None]:
    """Return a function by which root becomes another user and keeps CAP_DAC_OVERRIDE if it has it."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bits = 1 << _CAP_DAC_OVERRIDE
    capabilities = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)

    def become() -> None:
        if _libc is not None:
            # the capability then counts in access(2) too, by which Postgres checks whether it can run its own programs
            _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if _libc is not None:
            _libc.capset(header, capabilities)
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)

    return become


def _can_run(user: PostgresUser, program: Path, data: Path) -> bool:
    """Return whether the program runs as that user. Tried by running it: what a kernel, a container or a security module
    forbids is written in too many places."""
    become = user.become or (lambda: None)
    if user.uid != os.geteuid() and not data.exists() and not _may_give_away():
        return False

    def try_it() -> None:
        become()
        # by access(2), as Postgres does itself
        if not os.access(program, os.R_OK | os.X_OK) or not os.access(data.parent, os.X_OK):
            raise PermissionError

    try:
        done = subprocess.run(  # noqa: S603 - the program is ours
            [program, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=try_it, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _may_give_away() -> bool:
    """Return whether this root may give a folder to another user."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return effective is None or bool(int(effective[1], 16) & 1 << _CAP_CHOWN)


def _owner(data: Path) -> os.stat_result | None:
    try:
        return data.stat()
    except OSError:
        return None


def _in_passwd(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _overflow_user() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534
