"""Where an imported object comes from: the member ``provenance`` of commands and events that `langlog import` made."""

from __future__ import annotations

import msgspec


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The server or database that an object was read from, and what it said of the object. Times are ISO 8601."""

    source: str
    """Address without credentials: ``https://host``, ``postgresql://host:port/database``."""
    read_at: str
    """When the import that read it began."""
    original_id: str | None = None
    """Its id there; None: the same as here."""
    created_at: str | None = None
    """When it was created there. None: not known, the time of the command counts."""
    updated_at: str | None = None
    """When it was last changed there. None: not known, the time of the command counts."""
    state_updated_at: str | None = None
    """Of a thread: when its state was last changed there. None: ``updated_at``."""
