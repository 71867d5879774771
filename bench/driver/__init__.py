"""The load driver: connections, processes, and a prefilled log."""
