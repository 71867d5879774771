"""Nothing: see ../../pyproject.toml."""
