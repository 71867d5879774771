"""A fake LangSmith on loopback: accepts the HTTP calls of its client and stores the runs."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMIT_S = 120.0
BATCHES = {
    "use_multipart_endpoint": True,
    "size_limit": 100,
    "size_limit_bytes": 20_000_000,
    "scale_up_qsize_trigger": 1_000,
    "scale_up_nthreads_limit": 2,
    "scale_down_nempty_trigger": 4,
}
"""Response to the client's query before it sends."""

Runs = dict[str, dict[str, Any]]


class LangSmith:
    def __init__(self) -> None:
        self.url = ""
        self.runs: Runs = {}
        """Id -> the run, combined from all calls about it."""
        self.keys: set[str | None] = set()
        """API keys that came with calls."""
        self._news = threading.Condition()

    def wait(self, wanted: Callable[[Runs], bool]) -> Runs:
        """All runs, once they hold what is wanted."""
        with self._news:
            there = self._news.wait_for(lambda: wanted(self.runs), LIMIT_S)
            assert there, [(run.get("name"), run.get("trace_id"), run.get("end_time")) for run in self.runs.values()]
            return dict(self.runs)

    def trace(self, run_id: str, *names: str) -> dict[str, dict[str, Any]]:
        """Runs of the trace of a run by name, once those named have ended."""

        def ours(runs: Runs) -> dict[str, dict[str, Any]]:
            trace = runs.get(run_id, {}).get("trace_id")
            return {run["name"]: run for run in runs.values() if run.get("trace_id") == trace and run.get("end_time")}

        return ours(self.wait(lambda runs: run_id in runs and set(names) <= set(ours(runs))))

    def take(self, path: str, body: bytes, content_type: str) -> Any:
        if path.endswith("/runs/multipart"):
            self._keep(_parts(body, content_type))
        elif path.endswith("/runs/batch"):
            batch = json.loads(body)
            self._keep([*batch.get("post", []), *batch.get("patch", [])])
        elif path.endswith("/feedback/tokens"):
            asked = json.loads(body)
            tokens = [
                {"id": str(uuid.uuid4()), "url": f"{self.url}/f/{one['feedback_key']}"}
                for one in (asked if isinstance(asked, list) else [asked])
            ]
            collected = [{**token, "expires_at": "2030-01-01T00:00:00+00:00"} for token in tokens]
            return collected if isinstance(asked, list) else collected[0]
        return {}

    def _keep(self, runs: list[dict[str, Any]]) -> None:
        with self._news:
            for run in runs:
                self.runs.setdefault(run["id"], {}).update({k: v for k, v in run.items() if v is not None})
            self._news.notify_all()

    @contextmanager
    def up(self) -> Iterator[LangSmith]:
        langsmith = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer({"version": "0.13.0", "batch_ingest_config": BATCHES})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0)) if not self._chunked() else self._all()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                elif self.headers.get("content-encoding") == "zstd":
                    import zstandard

                    body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
                langsmith.keys.add(self.headers.get("x-api-key"))
                self._answer(langsmith.take(self.path, body, self.headers.get("content-type", "")))

            do_PATCH = do_POST

            def _chunked(self) -> bool:
                return self.headers.get("transfer-encoding", "").lower() == "chunked"

            def _all(self) -> bytes:
                result = b""
                while size := int(self.rfile.readline().strip(), 16):
                    result += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return result

            def _answer(self, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Log nothing: tests assert on the stored runs."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield self
        server.shutdown()
        thread.join()
        server.server_close()


def _parts(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """Runs of a multipart call: ``post.<id>`` and ``patch.<id>``, and their members ``post.<id>.inputs`` and the like."""
    whole = b"content-type: " + content_type.encode() + b"\r\n\r\n" + body
    members: dict[str, dict[str, Any]] = {}
    for part in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole).iter_parts():
        _, run_id, *member = str(part.get_param("name", header="content-disposition")).split(".")
        data = json.loads(part.get_payload(decode=True))
        run = members.setdefault(run_id, {"id": run_id})
        run.update({member[0]: data} if member else data)
    return list(members.values())
