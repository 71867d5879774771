"""`langlog log …`: records of the log, for people and for other programs."""
