"""The embedded servers of `langlog dev`."""
