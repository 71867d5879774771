"""Redis: connections, the hot queue, channels, replies, stored frames."""
