"""The built files of the console, in the form in which they are served. Read once, at start; nothing is looked up on disk
for a request."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from pathlib import Path

import msgspec

STATIC = Path(__file__).with_name("static")
PAGE = "index.html"
_HASHED = re.compile(r"-[0-9A-Z]{8}\.")
"""Content hash that esbuild puts into names."""
_COMPRESSED = {"br": ".br", "gzip": ".gz"}
"""Encodings in the order in which they are preferred, and the endings of their files."""
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


class File(msgspec.Struct, frozen=True):
    """One file: its content plain and in each compressed encoding."""

    content_type: str
    plain: bytes
    encoded: dict[str, bytes]
    etag: str
    """Strong ETag of the plain content, quoted; each encoding has one of its own (RFC 9110, 8.8.3.3)."""
    immutable: bool

    def pick(self, accepted: str) -> tuple[str | None, bytes]:
        """Return the encoding to send and the bytes, for an ``Accept-Encoding``."""
        wanted = _accepted(accepted)
        for name, body in self.encoded.items():
            if name in wanted:
                return name, body
        return None, self.plain


def read_files(folder: Path = STATIC) -> dict[str, File]:
    """Return name -> file; empty if the console has not been built."""
    if not (folder / PAGE).is_file():
        return {}
    files = {}
    for path in folder.iterdir():
        if path.suffix not in _TYPES and mimetypes.guess_type(path.name)[0] is None:
            continue
        if path.suffix in _COMPRESSED.values() or path.suffix == ".json" or not path.is_file():
            continue
        plain = path.read_bytes()
        beside = {name: path.with_name(path.name + ending) for name, ending in _COMPRESSED.items()}
        encoded = {name: file.read_bytes() for name, file in beside.items() if file.is_file()}
        files[path.name] = made(path.name, plain, encoded)
    return files


def made(name: str, plain: bytes, encoded: dict[str, bytes] | None = None) -> File:
    suffix = Path(name).suffix
    content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return File(content_type, plain, encoded or {}, etag, _HASHED.search(name) is not None)


def _accepted(header: str) -> frozenset[str]:
    """Return the encodings in an ``Accept-Encoding``, without those of quality 0."""
    accepted = set()
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        quality = parameters.strip().removeprefix("q=")
        if name.strip() and not re.fullmatch(r"0(\.0{0,3})?", quality):
            accepted.add(name.strip())
    return frozenset(accepted)
