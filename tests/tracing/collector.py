"""A test collector: receives OTLP over HTTP and stores the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LIMIT_S = 120.0


class Found(NamedTuple):
    """A span as it came."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    attributes: dict[str, str]
    service: str
    pid: str
    failed: bool


class Collector:
    def __init__(self) -> None:
        self.spans: list[Found] = []
        self._news = threading.Condition()
        self.url = ""

    def wait(self, wanted: Callable[[list[Found]], bool]) -> list[Found]:
        """All spans, once they hold what is wanted."""
        with self._news:
            there = self._news.wait_for(lambda: wanted(self.spans), LIMIT_S)
            assert there, [(span.name, span.trace_id) for span in self.spans]
            return list(self.spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        collected = []
        for resource in request.resource_spans:
            about = {a.key: a.value.string_value or str(a.value.int_value) for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    collected.append(
                        Found(
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.name,
                            {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes},
                            about["service.name"],
                            about["process.pid"],
                            span.status.code == span.status.STATUS_CODE_ERROR,
                        )
                    )
        with self._news:
            self.spans += collected
            self._news.notify_all()

    @contextmanager
    def up(self) -> Iterator[Collector]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                return None

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
