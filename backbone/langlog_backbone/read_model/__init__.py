"""Positions of the read model, and waiting until it has passed an offset."""
