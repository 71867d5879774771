"""An embedding that costs next to nothing: what is measured is the store."""

import random

DIMS = 384


def embed(texts):
    """The same text has the same direction, different texts have unrelated ones."""
    return [[draw() - 0.5 for _ in range(DIMS)] for draw in (random.Random(text).random for text in texts)]
