"""The log port, its two adapters, and `open_log`, which picks one by URI."""

from .open import open_log, started_log
from .port import (
    DECIDERS,
    PART_BYTES,
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
)

__all__ = [
    "DECIDERS",
    "PART_BYTES",
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
    "open_log",
    "started_log",
]
