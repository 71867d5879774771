"""``python -m docs.site [FOLDER]``: the site in FOLDER/site (default: build/docs/site)."""

from __future__ import annotations

import sys
from pathlib import Path

from .build import BuildError, build

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    try:
        print(build(folder) / "index.html")
    except BuildError as error:
        sys.exit(str(error))
