"""Marks of tests of features that only newer releases of langgraph and its SDK have; `make test-lowest` skips them."""

from __future__ import annotations

import pytest
from langlog_executor.values.library_features import DRAINS, SERVER_RUNTIME

TRANSFORMERS = DRAINS
"""Whether langgraph has stream transformers (``langgraph.stream``), which came with 1.2 too. Told by the release, not by the module, so
that tests fail where a newer langgraph has moved it."""

current_langgraph = pytest.mark.skipif(not DRAINS, reason="says what langgraph 1.2 or newer does")
current_sdk = pytest.mark.skipif(SERVER_RUNTIME is None, reason="needs langgraph-sdk 0.3.6 or newer")
stream_transformers = pytest.mark.skipif(
    not TRANSFORMERS, reason="this langgraph has no langgraph.stream: stream transformers need langgraph 1.2 or newer"
)
