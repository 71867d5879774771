"""The tracer of a run: langchain-core's, without values that are meant only for the graph.

langgraph passes the members of the configurable to tracers as metadata of each run. Headers that the project did not name as public
(`PrivateText`) are usually credentials, and are kept out of LangSmith as they are kept out of the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.tracers.langchain import LangChainTracer

from ..graphs.run_input import PrivateText


class RunTracer(LangChainTracer):
    def copy_with_metadata_defaults(
        self, *, metadata: Mapping[str, str] | None = None, tags: list[str] | None = None
    ) -> LangChainTracer:
        shown = {k: v for k, v in (metadata or {}).items() if not isinstance(v, PrivateText)}
        return super().copy_with_metadata_defaults(metadata=shown, tags=tags)
