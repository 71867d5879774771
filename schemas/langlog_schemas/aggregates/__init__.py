"""States of threads, assistants and crons, and how events change them (`evolve`)."""
