"""A past run again, in a sandbox."""
