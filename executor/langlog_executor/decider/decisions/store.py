"""Deciding of the store (wire contract §11): pure, and without state, since the last write wins."""

from __future__ import annotations

from typing import assert_never

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev


def decide_store(command: cmd.AnyStoreCommand) -> list[ev.AnyEvent]:
    """Return the events of a command to the store."""
    match command:
        case cmd.WriteStore():
            return [ev.StoreWritten(namespace=command.namespace, ops=command.ops, provenance=command.provenance)]
        case cmd.RefreshStore():
            return [ev.StoreRefreshed(namespace=command.namespace, keys=command.keys, read_at=command.read_at)]
        case _:
            assert_never(command)
