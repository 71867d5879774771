"""Frames of runs on their way to clients: followed, put in order, written."""
