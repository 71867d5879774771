"""The read model rebuilt from the log, compared, and swapped; and cuts of the log."""
