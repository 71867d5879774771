"""The store that graph nodes get, and embeddings."""
