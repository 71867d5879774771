"""``python -m langlog``."""

from .main import main

main()
