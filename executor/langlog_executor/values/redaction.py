"""Texts of exceptions as clients may see them: without credentials, values of the environment, and folders of the machine.

Each pattern begins at a literal, and no two matches examine the same characters, so that masking takes time in proportion to the
text: graphs raise exceptions with any data of their nodes, and loops that runs share mask the texts. Pure, but for the
process's environment and folders, which are read once.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from langlog_backbone.values.lone_surrogates import encodable

SHOWN_CHARACTERS_MAX = 20_000
"""Maximum length of an exception's text in a state, in characters."""
SECRET_CHARACTERS_MIN = 8
"""Minimum length of a masked value of the environment, in characters: texts contain shorter ones by chance."""
_MARGIN = 4_000
"""Characters beyond a limit that are masked too: a credential that the limit cuts in two would not be recognised."""

_VALUE = r"((?:Bearer|Basic)\s++[^\s'\",;)\]}]++|b?'[^'\n]*+'|b?\"[^\"\n]*+\"|[^\s&;,'\"()\[\]{}]++)"
_KEYS = r"(?:api|access|account|auth|encryption|master|private|secret|service|signing|session)[-_]?key"
_WORDS = rf"pass(?:word|wd|phrase|code)?|pwd|secret|credentials?|authorization|cookie|{_KEYS}"
_STEMS = ("pass", "pwd", "secret", "credential", "authorization", "cookie", "key", "token")
"""Every match of the three patterns that begin with a credential's name contains one of these."""
_IN_ADDRESS = re.compile(r"(?<=\w://)[^\s/?#'\"]*@")
_ASSIGNED = re.compile(rf"({_WORDS}|token)(\s*+=\s*+){_VALUE}", re.IGNORECASE)
_QUOTED_NAME = re.compile(rf"((?:{_WORDS}|token)['\"]\s*+(?::|=>)\s*+){_VALUE}", re.IGNORECASE)
_TITLED = re.compile(
    rf"((?:password|passwd|passphrase|secret|authorization|cookie|{_KEYS})\s*+:\s*+){_VALUE}", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(Bearer|Basic)(\s++)[A-Za-z0-9._~+/=:-]{6,}+", re.IGNORECASE)
_SHAPED = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{12,}+|gh[opsu]_\w{16,}+|github_pat_\w{16,}+|xox[abprs]-[\w-]{10,}+|lsv2_\w{16,}+"
    r"|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}+|eyJ[\w-]{8,}+\.[\w-]++\.[\w-]++)"
)
"""Keys that providers issue, by their forms; the last one is a JSON Web Token."""
_BEGINNINGS = ("sk-", "gh", "xox", "lsv2_", "AKIA", "ASIA", "AIza", "eyJ")
_ENVIRON = "environ({"
_WORD = r"[^\s/\\'\":;,()<>\[\]{}|*?`]"
_FOLDER = re.compile(
    r"(?<![\w/.:~-])(?:/(?:home|Users|root|srv|opt|var|mnt|media|etc|usr|private|tmp|deps)(?=/)|[A-Za-z]:(?=\\))"
    rf"(?:[/\\]{_WORD}++)++[/\\]?+"
)
_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|PRIVATE|SALT|DSN|CONNECTION|DATABASE|REDIS|POSTGRES|SIGNATURE",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"(?=[A-Za-z_+=]*\d)(?=[\d_+=]*[A-Za-z])[A-Za-z0-9_+=]{20,}")
"""A random-looking value, whatever the name of its variable."""


def hidden(text: str) -> str:
    """Return the text with ``***`` in place of credentials and of secret values of the environment, ``…/`` in place of folders."""
    text = _without_environ(text)
    for value in _secrets_here():
        text = text.replace(value, "***")
    if "://" in text and "@" in text:
        text = _IN_ADDRESS.sub("***@", text)
    lower = text.lower()  # a search for plain words takes a tenth of the patterns' time, and most texts have none
    if any(word in lower for word in _STEMS):
        text = _ASSIGNED.sub(r"\1\2***", text)
        text = _QUOTED_NAME.sub(r"\1***", text)
        text = _TITLED.sub(r"\1***", text)
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(r"\1\2***", text)
    if any(beginning in text for beginning in _BEGINNINGS):
        text = _SHAPED.sub("***", text)
    if "/" not in text and "\\" not in text:
        return text
    folders = _folders_here()
    if folders is not None:
        text = folders.sub("…/", text)
    return _FOLDER.sub(_last_part, text)


def shown(text: str, limit: int = SHOWN_CHARACTERS_MAX) -> str:
    """Return `hidden`, at most ``limit`` characters, without lone surrogates, so that any encoder accepts it."""
    cut = text[: limit + _MARGIN]
    masked = hidden(cut)
    if len(text) > len(cut) or len(masked) > limit:
        masked = masked[:limit]
    return encodable(masked)


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Return the values that texts must not show, the longest first."""
    values = {
        value
        for name, value in environment.items()
        if len(value) >= SECRET_CHARACTERS_MIN and (_SECRET_NAME.search(name) or _RANDOM.fullmatch(value))
    }
    return sorted(values, key=len, reverse=True)


def folders(paths: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern of these folders at the beginning of a path; None without folders."""
    existing = {Path(path).absolute() for path in paths if path and Path(path).is_dir()}
    names = [
        re.escape(str(path))
        for path in sorted(existing, key=lambda x: len(str(x)), reverse=True)
        if path != path.parent
    ]
    return re.compile(rf"(?<![\w/.:~-])(?:{'|'.join(names)})[/\\]") if names else None


@functools.cache
def _secrets_here() -> list[str]:
    return secret_values(os.environ)


@functools.cache
def _folders_here() -> re.Pattern[str] | None:
    return folders([*sys.path, str(Path.cwd()), str(Path.home()), sys.prefix, sys.base_prefix])


def _without_environ(text: str) -> str:
    """Return the text without a ``repr`` of ``os.environ``, which shows the whole environment."""
    if _ENVIRON not in text:
        return text
    first, *rest = text.split(_ENVIRON)
    return first + "".join(f"{_ENVIRON}***}}){part.partition('})')[2]}" for part in rest)


def _last_part(match: re.Match[str]) -> str:
    """Return a path without its folders."""
    path = match.group().replace("\\", "/")
    folder, _, name = path.rpartition("/")
    return f"…/{name}" if folder.count("/") > 1 or not path.startswith(("/home", "/Users")) else "…"
