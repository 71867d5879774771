"""The log port, its two adapters, and `open_log`, which picks one by URI."""

from .open import open_log, started_log
from .port import (
    DECIDERS,
    PART_BYTES,
    REPAIR_COMMANDS,
    AppendUnknown,
    Assignment,
    Log,
    LogFault,
    LogReader,
    LogSilent,
    LogUnavailable,
    NewRecord,
    Position,
    Positions,
    Record,
    RecordTooLarge,
    TopicPartition,
    TopicUnusable,
)

__all__ = [
    "DECIDERS",
    "PART_BYTES",
    "REPAIR_COMMANDS",
    "AppendUnknown",
    "Assignment",
    "Log",
    "LogFault",
    "LogReader",
    "LogSilent",
    "LogUnavailable",
    "NewRecord",
    "Position",
    "Positions",
    "Record",
    "RecordTooLarge",
    "TopicPartition",
    "TopicUnusable",
    "open_log",
    "started_log",
]
