"""Deciding of the store (API.md 11): pure, and without state, since the last write wins."""

from __future__ import annotations

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev


def decide_store(command: cmd.StoreCommand) -> list[ev.AnyEvent]:
    """Events of a command to the store."""
    match command:
        case cmd.WriteStore():
            return [ev.StoreWritten(namespace=command.namespace, ops=command.ops)]
        case cmd.RefreshStore():
            return [ev.StoreRefreshed(namespace=command.namespace, keys=command.keys, read_at=command.read_at)]
        case _:
            raise TypeError(f"{command.TYPE} is no command to the store")
