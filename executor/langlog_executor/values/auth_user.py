"""The authenticated user, as graphs see it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class AuthUser(Mapping[str, Any]):
    """The authenticated user as graphs see it: keys and attributes of what the authenticator returned.

    As JSON it has its public members alone.
    """

    def __init__(self, fields: Mapping[str, Any], private: Mapping[str, Any] | None = None) -> None:
        self._fields = {**fields, **(private or {})}
        self._public = dict(fields)

    def public(self) -> dict[str, Any]:
        return self._public

    @property
    def identity(self) -> str:
        return str(self._fields.get("identity", ""))

    @property
    def display_name(self) -> str:
        return str(self._fields.get("display_name", self.identity))

    @property
    def is_authenticated(self) -> bool:
        return bool(self._fields.get("is_authenticated", True))

    @property
    def permissions(self) -> Sequence[str]:
        return self._fields.get("permissions") or []

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"AuthUser({self.identity!r})"
