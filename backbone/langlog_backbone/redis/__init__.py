"""Redis: connections, the hot queue, channels, replies, kept frames."""
