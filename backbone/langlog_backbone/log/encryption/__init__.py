"""Records of threads, encrypted with a key for each thread."""
