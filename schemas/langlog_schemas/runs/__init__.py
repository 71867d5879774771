"""A run: the request that makes it, the errors and results that it ends with, the answers that resume it."""
