"""Start the embedded servers of a data folder once, as the user that this process runs as: ``python once.py <folder>``.

Says "up" and the user that Postgres' files belong to, or the one line that a start would end with.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg
from langlog_backbone.embedded.servers import embedded_servers
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import check_redis


async def main(folder: Path) -> None:
    async with embedded_servers(Settings(data_dir=folder)) as settings:
        connection = await asyncpg.connect(settings.database_uri)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await check_redis(settings.redis_uri)
        (data,) = folder.glob("postgres-*/")
        print("up", data.stat().st_uid)


try:
    asyncio.run(main(Path(sys.argv[1])))
except StartError as error:
    print(error)
    sys.exit(1)
