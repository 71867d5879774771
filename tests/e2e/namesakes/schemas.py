"""The project's own ``schemas``, which must not be imported as a part of the server."""

from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
