"""The project's own ``executor``."""
