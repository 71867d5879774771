"""Times of the hops of a run whose graph is in TypeScript, beside one in Python."""
