"""Values of graphs as JSON, messages, and texts of errors."""
