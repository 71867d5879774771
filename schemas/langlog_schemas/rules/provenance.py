"""The source of an imported object: the member ``provenance`` of commands and events that `langlog import` made."""

from __future__ import annotations

import msgspec


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server or database that an object was read from, and its times and id there. Times are ISO 8601."""

    source: str
    """Address without credentials: ``https://host``, ``postgresql://host:port/database``."""
    read_at: str
    """Start time of the import that read the object."""
    original_id: str | None = None
    """Id of the object at the source. None: the same as here."""
    created_at: str | None = None
    """Creation time at the source. None: unknown, the time of the command is used."""
    updated_at: str | None = None
    """Time of the last change at the source. None: unknown, the time of the command is used."""
    state_updated_at: str | None = None
    """For a thread: time of the last change of its state at the source. None: ``updated_at``."""
