"""Serialization of state, without ever executing code that the bytes name.

Msgpack only, by `JsonPlusSerializer`: no pickle, no JSON constructors. Types are restored only if they are on the allow list: the
serde's own safe types, message and document classes of langchain, the types of the graphs' schemas (langgraph passes them to
`with_msgpack_allowlist`), ``checkpointer.serde.allowed_msgpack_modules`` of langgraph.json, and classes of modules
under the project's folder that are already imported. Values of other types are restored as plain data.

The executor sets ``LANGGRAPH_STRICT_MSGPACK`` before langgraph is imported, so that langgraph derives those lists.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import ormsgpack
import structlog
import zstandard
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
    _create_msgpack_ext_hook,
    _msgpack_default,
    _option,
)
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project

from ..values import expansion
from ..values.error_text import written
from ..values.fast_messages import dumped, message_hook
from ..values.json_cipher import JsonCipher
from .cipher import CheckpointCiphers, checkpoint_ciphers
from .stored_checkpoint import Encoded

COMPRESS_FROM_BYTES = 1024
COMPRESSION_LEVEL = 1
COMPRESSED = "+zstd"

SAFE_PREFIXES = ("langchain_core.messages.", "langchain_core.documents.", "langchain_core.outputs.")
"""Prefixes of langchain's plain data classes, beyond those that the serde knows by name."""
SECRETS = frozenset({("pydantic.types", name) for name in ("Secret", "SecretStr", "SecretBytes")})
"""Classes that hold a value and show a mask. Restored as plain data they would show the value."""

REFUSED_MAX = 1_000
"""Maximum number of remembered refused classes, each of which is logged once."""

logger = structlog.get_logger(__name__)
_local = threading.local()


class AllowedTypes(set[tuple[str, ...]]):
    """(module, class) pairs that may be restored as objects; classes of the project are members without being listed."""

    def __init__(self, listed: Iterable[tuple[str, ...]] = (), roots: Collection[Path] = ()) -> None:
        super().__init__(listed)
        self.roots = tuple(str(root.resolve()) for root in roots)
        self._judged: dict[str, bool] = {}
        self._listed = tuple(sorted(self))
        self._refused: dict[tuple[str, ...], None] = {}

    def __contains__(self, key: object) -> bool:
        """Return whether stored bytes may create an object of the class. A refusal is logged, with what allows the class."""
        if self.allows(key):
            return True
        if isinstance(key, tuple) and key not in self._refused and len(self._refused) < REFUSED_MAX:
            self._refused[key] = None
            listed = json.dumps([list(pair) for pair in (*self._listed, *self._refused)])
            logger.warning(
                "checkpoint.class_not_allowed",
                cls=".".join(str(part) for part in key),
                effect="values of this class in the state come back as the plain data that they were made of",
                hint=f'add to langgraph.json: "checkpointer": {{"serde": {{"allowed_msgpack_modules": {listed}}}}}',
            )
        return False

    @property
    def refused(self) -> list[str]:
        """Return the classes that were refused so far, ``module.name``."""
        return [".".join(str(part) for part in key) for key in self._refused]

    def allows(self, key: object) -> bool:
        """Like ``in``, without logging."""
        if super().__contains__(key) or key in SECRETS:
            return True
        if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(x, str) for x in key)):
            return False
        module, name = key
        return self._trusted(module) and isinstance(getattr(sys.modules[module], name, None), type)

    def _trusted(self, module: str) -> bool:
        loaded = sys.modules.get(module)
        if loaded is None:
            return False
        if module.startswith(SAFE_PREFIXES):
            return True
        file = getattr(loaded, "__file__", None)
        if file is None:
            return False
        known = self._judged.get(file)
        if known is None:
            path = Path(file).resolve()
            known = "site-packages" not in path.parts and any(path.is_relative_to(root) for root in self.roots)
            self._judged[file] = known
        return known


JAVASCRIPT = "js+"
"""Begins the type of a value that a graph in JavaScript has written, before the type that its own serializer gave."""


class OtherLanguage(TypeError):
    """A checkpoint was written by a graph in another language than that of the one that reads it. ``status`` as in HTTP."""

    for_clients = True
    status = 409


INTEGER_TOO_LARGE = "Integer exceeds"
"""Beginning of ormsgpack's message; its error class is TypeError itself."""


class IntegerTooLarge(TypeError):
    """An integer in a state that is beyond msgpack's range."""

    for_clients = True


class ProjectSerializer(JsonPlusSerializer):
    """The serializer of a process, with the allow lists of all its graphs."""

    def __init__(self, allowed: AllowedTypes, ciphers: CheckpointCiphers | None = None) -> None:
        super().__init__(
            pickle_fallback=False,
            allowed_json_modules=None,
            allowed_msgpack_modules=None,
            __unpack_ext_hook__=message_hook(_create_msgpack_ext_hook(allowed)),
        )
        self.allowed = allowed
        self.ciphers = ciphers or CheckpointCiphers()
        """Ciphers that `pack` and `unpack` use."""

    def dumps_typed(self, obj: Any) -> Encoded:
        """Serialize to the same bytes as the library. Raises IntegerTooLarge, TooManyMembers, and TypeError for what
        else has none."""
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        if not isinstance(obj, BaseException):  # the failure of a task, which is shown in brief
            expansion.check(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, default=self._default, option=_option)
        except TypeError as error:
            if str(error).startswith(INTEGER_TOO_LARGE):
                raise IntegerTooLarge(
                    "a checkpoint holds integers of 64 bits at most: send larger ones as text"
                ) from None
            raise

    def _default(self, obj: Any) -> Any:
        if isinstance(obj, BaseException) and expansion.expands(obj):
            return written(obj)
        values = dumped(obj)
        kind = type(obj)
        if values is not None:
            whole: Any = (kind.__module__, kind.__name__, values, "model_validate_json")
            return ormsgpack.Ext(EXT_PYDANTIC_V2, ormsgpack.packb(whole, default=_msgpack_default, option=_option))
        if callable(getattr(obj, "get_secret_value", None)) and not hasattr(obj, "model_dump"):
            value = obj.get_secret_value()
            name = kind.__module__, kind.__name__
            if not self.allowed.allows(name):  # a class that may not be restored: one that masks its value may
                secret = (
                    "SecretStr" if isinstance(value, str) else "SecretBytes" if isinstance(value, bytes) else "Secret"
                )
                name = "pydantic.types", secret
            whole = (*name, value)
            return ormsgpack.Ext(
                EXT_CONSTRUCTOR_SINGLE_ARG, ormsgpack.packb(whole, default=self._default, option=_option)
            )
        return _msgpack_default(obj)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> ProjectSerializer:
        """Allow more types, and return itself."""
        if not (isinstance(extra_allowlist, set | frozenset) and self.allowed.issuperset(extra_allowlist)):
            for entry in extra_allowlist:
                self.allowed.add((entry.__module__, entry.__name__) if isinstance(entry, type) else entry)
        return self


def project_serializer(
    config: dict[str, Any] | None = None, roots: Collection[Path] = (), ciphers: CheckpointCiphers | None = None
) -> ProjectSerializer:
    """Return the serializer of a project: ``config`` is the ``checkpointer`` section of langgraph.json, ``roots`` its folders.

    Raises ValueError for a setting that would let stored bytes execute code.
    """
    serde = (config or {}).get("serde") or {}
    if serde.get("pickle_fallback"):
        raise ValueError("checkpointer.serde.pickle_fallback is not supported: stored bytes must not execute code")
    listed = serde.get("allowed_msgpack_modules")
    if listed is True:
        raise ValueError("checkpointer.serde.allowed_msgpack_modules must list types; true would allow any callable")
    names: list[tuple[str, ...]] = []
    for entry in listed or ():
        parts = tuple(entry.rpartition(".")[::2]) if isinstance(entry, str) else tuple(entry)
        if len(parts) != 2 or not all(isinstance(x, str) and x for x in parts):
            raise ValueError(f"checkpointer.serde.allowed_msgpack_modules: {entry!r} is not [module, class]")
        names.append(parts)
    return ProjectSerializer(AllowedTypes(names, roots), ciphers)


def configured_serializer(project: Project | None, settings: Settings) -> ProjectSerializer:
    """Return the serializer of the project that this process serves, with what encrypts its checkpoints. Raises StartError."""
    ciphers = checkpoint_ciphers(project, settings)
    if project is None:
        return project_serializer(ciphers=ciphers)
    try:
        return project_serializer(project.section("checkpointer"), [project.root, *project.import_paths()], ciphers)
    except ValueError as error:
        raise StartError(f"{project.file}: {error}") from None


def json_cipher(serde: SerializerProtocol) -> JsonCipher:
    """Return the cipher of JSON that is stored beside serialized values."""
    return serde.ciphers.json if isinstance(serde, ProjectSerializer) else JsonCipher()


def pack(serde: SerializerProtocol, value: Any) -> Encoded:
    """Return the value as (type, bytes), compressed if that saves space, and encrypted if configured.

    Raises the serde's errors for values that it cannot serialize, and those of encryption handlers.
    """
    return packed(serde, *serde.dumps_typed(value))


def packed(serde: SerializerProtocol, kind: str, data: bytes) -> Encoded:
    """As `pack`, of a value that is bytes already. Raises what an encryption handler raises."""
    kind, data = _compressed(kind, data)
    return serde.ciphers.seal(kind, data) if isinstance(serde, ProjectSerializer) else (kind, data)


def _compressed(kind: str, data: bytes) -> Encoded:
    if len(data) >= COMPRESS_FROM_BYTES:
        compressor = getattr(_local, "compressor", None)
        if compressor is None:
            compressor = _local.compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        smaller = compressor.compress(data)
        if len(smaller) < len(data):
            return kind + COMPRESSED, smaller
    return kind, bytes(data)


def unpack(serde: SerializerProtocol, kind: str, data: bytes) -> Any:
    """The value of `pack`. Raises CheckpointUnreadable for what is encrypted by something that is not configured, and
    OtherLanguage."""
    kind, data = unpacked(serde, kind, data)
    if kind.startswith(JAVASCRIPT):
        raise OtherLanguage(
            "a checkpoint of this thread was written by a graph in JavaScript, whose values a graph in Python cannot read: "
            "use another thread, or the graph that has written it"
        )
    return serde.loads_typed((kind, data))


def unpacked(serde: SerializerProtocol, kind: str, data: bytes) -> Encoded:
    """The type and bytes that `packed` was given. Raises CheckpointUnreadable."""
    if isinstance(serde, ProjectSerializer):
        kind, data = serde.ciphers.open(kind, data)
    if not kind.endswith(COMPRESSED):
        return kind, data
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    return kind[: -len(COMPRESSED)], decompressor.decompress(data)
