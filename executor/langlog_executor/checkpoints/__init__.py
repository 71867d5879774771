"""langgraph's saver on top of the log."""
