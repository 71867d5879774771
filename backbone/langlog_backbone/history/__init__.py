"""The past of threads and runs, from the log."""
