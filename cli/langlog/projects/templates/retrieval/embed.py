"""Vectors of texts, which the store searches by. This one counts words, and needs no model: texts that share words are near.

For vectors by meaning name a model in langgraph.json instead: ``"embed": "openai:text-embedding-3-small", "dims": 1536``.
"""

import hashlib
import math
import re
from collections.abc import Sequence

DIMENSIONS = 512


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [vector(text) for text in texts]


def vector(text: str) -> list[float]:
    counts = [0.0] * DIMENSIONS
    for word in re.findall(r"\w{3,}", text.lower()):
        counts[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % DIMENSIONS] += 1.0
    length = math.sqrt(sum(count * count for count in counts))
    return [count / length for count in counts] if length else [1.0, *counts[1:]]
