"""How far the read model is, and waiting until it has passed an offset."""
