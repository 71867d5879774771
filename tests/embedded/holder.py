"""A process that holds the embedded servers of a data folder: ``python -m tests.embedded.holder <folder>``; prints their URIs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from langlog_backbone.embedded.servers import embedded_servers
from langlog_backbone.process.settings import Settings


async def main() -> None:
    async with embedded_servers(Settings(data_dir=Path(sys.argv[1]))) as settings:
        print("up", settings.database_uri, settings.redis_uri, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
