"""Bodies of requests: read within bounds of bytes, time and memory."""
