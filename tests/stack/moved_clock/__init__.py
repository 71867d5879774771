"""``FOLDER``: in PYTHONPATH it moves the clock of a process (``sitecustomize``)."""

from pathlib import Path

FOLDER = str(Path(__file__).parent)
