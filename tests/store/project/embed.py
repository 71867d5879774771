"""An embedding that can be checked by eye; each call leaves a line in a file, if the environment names one."""

import asyncio
import os


async def embed(texts):
    if path := os.environ.get("EMBED_CALLS"):
        with open(path, "a") as file:
            file.write(f"{len(texts)}\n")
    await asyncio.sleep(0.1)  # as far away as models are: what comes meanwhile shares the next call
    return [[float(text.count(letter)) for letter in "abc"] for text in texts]
