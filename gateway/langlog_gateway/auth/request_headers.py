"""Request headers in the form in which ``authenticate`` of a project gets them. Pure."""

from __future__ import annotations

from typing import Any


class RequestHeaders(dict[bytes, bytes]):
    """Headers by lower-case names, names and values in bytes (langgraph_sdk.Auth.authenticate).

    A name that is text, in any case, finds the value as text: examples of LangGraph's documentation, and projects for servers whose
    headers are text, read them so.
    """

    def __missing__(self, name: object) -> Any:
        if not isinstance(name, str):
            raise KeyError(name)
        value = dict.get(self, name.lower().encode("utf-8", "surrogateescape"))
        if value is None:
            raise KeyError(name)
        return value.decode("utf-8", "surrogateescape")

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def get(self, name: Any, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default
