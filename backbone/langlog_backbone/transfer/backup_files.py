"""The files of a backup: in a folder, or in one tar archive.

    manifest.json            content of the backup, with the checksum of every other file; written last
    records-00000001.zst …   records of the log, each after its length (4 bytes, big-endian): msgpack of
                             [topic, partition, offset, key, value, headers]
    beside-00000001.zst      data outside the log (`beside`): rows after their lengths; each backup replaces the one before

A file ends in ``.zst`` where it is one zstd stream (RFC 8878), in ``.bin`` where it is not compressed.

Records of a partition are in offset order, over all files in the manifest's order. Files that the manifest does not name are left from an
interrupted backup.

Concurrency: one writer a folder, by a lock. Death: a manifest is replaced at once, so a backup is the former or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard

from ..log import LogFault, Record
from .beside import Row

FORMAT = 1
"""Format that is written; all formats up to it can be read."""
MANIFEST = "manifest.json"
SEGMENT_BYTES = 64_000_000
"""Maximum bytes of records in one file, before compression."""
LEVEL = 3
LENGTH = struct.Struct(">I")
READ_BYTES = 1_000_000
MAX_ENTRY_BYTES = 1_000_000_000
"""Maximum length of an entry, in bytes; a larger one means damage."""

_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode


class BackupFault(LogFault):
    """The backup cannot be used or written; the message is the reason, in one line."""


class File(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    entries: int
    """Number of records, or rows."""
    bytes: int
    sha256: str


class Span(msgspec.Struct, frozen=True, array_like=True):
    """The part of one partition in a backup: offsets from ``start`` on and below ``end``."""

    topic: str
    partition: int
    start: int
    end: int
    last: str
    """Digest of the last record; empty without one."""


class MasterKey(msgspec.Struct, frozen=True):
    """A master key that wraps keys of threads."""

    check: str
    """Check value that identifies the key without revealing it; empty: the key was not known when the backup was made."""
    keys: int
    """Number of keys that it wraps."""


class Keys(msgspec.Struct, frozen=True):
    """The keys that the records need, and those in the backup."""

    threads: int = 0
    """Number of keys of threads in this backup."""
    unwrapped: int = 0
    """Number of them that no master key wraps: with the backup, these threads can be read."""
    masters: list[MasterKey] = []
    credentials: int = 0
    secret_check: str = ""
    """Check value of the deployment's secret; empty: unknown."""
    secret_included: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """Times are ISO 8601 in UTC."""

    format: int
    made_by: str
    began: str
    ended: str
    log: str
    """"sqlite" or "kafka"."""
    partitions: int
    spans: list[Span]
    files: list[File]
    beside: File | None = None
    """File with the data outside the log, or None if it was left out (``--log-only``)."""
    keys: Keys = Keys()

    @property
    def records(self) -> int:
        return sum(file.entries for file in self.files)


class _Format(msgspec.Struct):
    format: int


class EntryFile:
    """A file of entries being written. Blocks. ``draft`` is its temporary path."""

    def __init__(self, name: str, draft: Path, *, compressed: bool) -> None:
        self.name = name + (".zst" if compressed else ".bin")
        self.draft = draft
        self.entries = self.size = 0
        self._file = draft.open("wb")
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj() if compressed else None

    def add(self, entry: Record | Row) -> None:
        """Append an entry. Raises OSError."""
        body = _encode(entry)
        self.entries += 1
        self.size += len(body)
        self._write(LENGTH.pack(len(body)))
        self._write(body)

    def close(self) -> File:
        """Sync the file to disk and describe it. Raises OSError."""
        if self._compressor is not None:
            self._out(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return File(self.name, self.entries, self._bytes, self._hash.hexdigest())

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self.draft.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._out(data if self._compressor is None else self._compressor.compress(data))

    def _out(self, data: bytes) -> None:
        if data:
            self._file.write(data)
            self._hash.update(data)
            self._bytes += len(data)


class Folder:
    """A backup in a folder, to be created or continued. A context manager. Blocks. Raises BackupFault, OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.manifest: Manifest | None = None
        """Manifest of the existing backup, or None."""

    def __enter__(self) -> Folder:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupFault(f"another backup is being made in {self._path}: wait until it is done") from None
            if (self._path / MANIFEST).exists():
                self.manifest = read_manifest((self._path / MANIFEST).read_bytes(), str(self._path))
            elif any(entry.name != "lock" and not _ours(entry.name) for entry in self._path.iterdir()):
                raise BackupFault(f"{self._path} holds something else than a backup: name an empty folder")
            self._clear()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def draft(self, name: str) -> Path:
        return self._path / f"{name}.draft"

    def put(self, entries: EntryFile) -> File:
        file = entries.close()
        entries.draft.rename(self._path / file.name)
        return file

    def finish(self, manifest: Manifest) -> None:
        """Replace the manifest: from then on the backup is the new one."""
        draft = self._path / f"{MANIFEST}.draft"
        with draft.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        draft.rename(self._path / MANIFEST)
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.manifest = manifest
        self._clear()

    def _clear(self) -> None:
        """Remove files that no manifest names."""
        named = {MANIFEST, "lock"}
        if self.manifest is not None:
            named |= {file.name for file in self.manifest.files}
            named |= {self.manifest.beside.name} if self.manifest.beside is not None else set()
        for entry in self._path.iterdir():
            if entry.name not in named and _ours(entry.name):
                entry.unlink()


class Archive:
    """A backup as one complete tar archive, to a file or a pipe. Same interface as `Folder`."""

    def __init__(self, out: IO[bytes], scratch: Path) -> None:
        self.manifest: Manifest | None = None
        self._tar = tarfile.open(fileobj=out, mode="w|")  # noqa: SIM115 - closed by `__exit__`
        self._scratch = tempfile.TemporaryDirectory(prefix=".langlog-backup-", dir=scratch)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._scratch.cleanup()
        if kind is None:
            self._tar.close()

    def draft(self, name: str) -> Path:
        return Path(self._scratch.name) / name

    def put(self, entries: EntryFile) -> File:
        file = entries.close()
        self._tar.add(entries.draft, file.name, filter=_plain)
        entries.draft.unlink()
        return file

    def finish(self, manifest: Manifest) -> None:
        path = self.draft(MANIFEST)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        self._tar.add(path, MANIFEST, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _ours(name: str) -> bool:
    return name.endswith(".draft") or name.startswith(("records-", "beside-"))


class Backup:
    """Reads a backup: a folder or an archive. A context manager. Blocks. Raises BackupFault, OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> Backup:
        if not self._path.exists():
            raise BackupFault(f"there is no backup {self._path}")
        if self._path.is_dir():
            if not (self._path / MANIFEST).exists():
                raise BackupFault(
                    f"{self._path} has no {MANIFEST}: it is no backup, or the first backup into it never came to its end"
                )
        else:
            try:
                self._tar = tarfile.open(self._path, "r:")
                self._members = {member.name: member for member in self._tar.getmembers()}
            except (tarfile.TarError, EOFError) as error:
                raise BackupFault(f"{self._path} is not a backup, or only a part of one: {error}") from None
            if MANIFEST not in self._members:
                raise BackupFault(
                    f"{self._path} has no {MANIFEST}: it is a part of a backup; it was cut off, or never finished"
                )
        with self._open(MANIFEST) as file:
            self.manifest = read_manifest(file.read(), str(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def check(self, file: File) -> None:
        """Check size and checksum of one file."""
        digest = hashlib.sha256()
        size = 0
        with self._open(file.name) as opened:
            while data := opened.read(READ_BYTES):
                digest.update(data)
                size += len(data)
        if size != file.bytes:
            raise BackupFault(
                f"{file.name} of {self._path} has {size:,} bytes instead of {file.bytes:,}: it was cut off"
            )
        if digest.hexdigest() != file.sha256:
            raise BackupFault(f"{file.name} of {self._path} is damaged: its checksum is not the one in {MANIFEST}")

    def records(self, file: File) -> Iterator[Record]:
        for body in self._entries(file):
            yield _decode_record(body)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the data outside the log."""
        if self.manifest.beside is not None:
            for body in self._entries(self.manifest.beside):
                yield _decode_row(body)

    def _entries(self, file: File) -> Iterator[bytes]:
        with contextlib.ExitStack() as stack:
            opened: Any = stack.enter_context(self._open(file.name))
            if file.name.endswith(".zst"):
                opened = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(opened, read_size=READ_BYTES))
            for _ in range(file.entries):
                (length,) = LENGTH.unpack(_exactly(opened, LENGTH.size, file))
                if length > MAX_ENTRY_BYTES:
                    raise BackupFault(f"{file.name} of {self._path} is damaged: an entry of {length:,} bytes")
                yield _exactly(opened, length, file)

    def _open(self, name: str) -> IO[bytes]:
        try:
            if self._tar is None:
                return (self._path / name).open("rb")
            opened = self._tar.extractfile(self._members[name])
        except (FileNotFoundError, KeyError):
            raise BackupFault(f"{self._path} lacks {name}, which its {MANIFEST} names") from None
        assert opened is not None
        return opened


def _exactly(opened: Any, size: int, file: File) -> bytes:
    data = b""
    while len(data) < size:
        more = opened.read(size - len(data))
        if not more:
            raise BackupFault(f"{file.name} of the backup ends too early")
        data = more if not data else data + more
    return data


def read_manifest(data: bytes, where: str) -> Manifest:
    """Return the manifest. Raises BackupFault if it is damaged, or of a later format."""
    try:
        written = msgspec.json.decode(data, type=_Format).format
        if not 1 <= written <= FORMAT:
            raise BackupFault(
                f"{where} is a backup of format {written}; this langlog reads formats up to {FORMAT}: use a newer one"
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupFault(f"the {MANIFEST} of {where} is damaged: {error}") from None
    for file in [*manifest.files, *([manifest.beside] if manifest.beside is not None else [])]:
        if "/" in file.name or not _ours(file.name):
            raise BackupFault(f"the {MANIFEST} of {where} names {file.name!r}, which is no file of a backup")
    return manifest
