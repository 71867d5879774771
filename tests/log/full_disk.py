"""A process whose files do not grow beyond a size, as on a full disk. Prints the errors of its embedded log as JSON."""

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

from langlog_backbone.log import Log, LogUnavailable, NewRecord, open_log
from langlog_backbone.process.settings import Settings

RECORD = NewRecord("commands", "key", bytes(range(256)) * 1000, {"ce_id": "1"})


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def said(log: Log, *, append: bool) -> str:
    try:
        await (log.append([RECORD]) if append else log.check())
    except LogUnavailable as error:
        return str(error)
    return "ok"


async def main(file: Path) -> list[str]:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Python would leave the first bytes of each module that it compiles, and no process of this environment could import it again
    sys.dont_write_bytecode = True
    log = open_log(Settings(log_uri=f"sqlite://{file}", partitions=1))
    await log.start()
    collected = [await said(log, append=True), await said(log, append=False)]
    limit_files(1024)
    collected += [await said(log, append=False), await said(log, append=True)]
    limit_files(resource.RLIM_INFINITY)
    collected += [await said(log, append=False), await said(log, append=True), await said(log, append=False)]
    await log.stop()
    return collected


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))), file=sys.stderr)
