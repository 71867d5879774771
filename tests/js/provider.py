"""A provider of models on loopback that speaks OpenAI's API, as far as the libraries of the starters use it: no network, no key.

It answers from the conversation alone: ``call NAME {arguments}`` from a person calls that tool where the request offers it, a tool's
message is read out, a wanted JSON schema gets the last question as ``query``, and everything else comes back behind ``You said:``.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSIONS = 16


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Its base URL, as ``OPENAI_BASE_URL`` takes it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """The message of the assistant."""
    messages = request["messages"]
    last = messages[-1]
    offered = {tool["function"]["name"] for tool in request.get("tools") or []}
    system = " ".join(_text(m) for m in messages if m["role"] in ("system", "developer"))
    if (request.get("response_format") or {}).get("type") == "json_schema":
        return {"role": "assistant", "content": json.dumps({"query": _text(last)})}
    asked = next((_text(m) for m in reversed(messages) if m["role"] == "user"), "")
    for line in asked.splitlines():
        word, _, rest = line.partition(" ")
        name, _, arguments = rest.partition(" ")
        if word == "call" and name in offered and not _called(messages, name):
            function = {"name": name, "arguments": arguments or "{}"}
            call = {"id": f"call_{len(messages)}", "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"The tool said: {_text(last)}"}
    return {"role": "assistant", "content": f"You said: {_text(last)} ({system})"}


def _called(messages: list[dict[str, Any]], name: str) -> bool:
    """Whether the conversation since the person's last message has a call of this tool."""
    since = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=0)
    calls = [call for m in messages[since:] for call in m.get("tool_calls") or []]
    return any(call["function"]["name"] == name for call in calls)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            self._json({"object": "list", "model": request["model"], "data": _vectors(request)})
        elif request.get("stream"):
            self._stream(_answer(request))
        else:
            message = _answer(request)
            choice = {
                "index": 0,
                "message": message,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
            self._json(
                {
                    "id": f"chatcmpl-{uuid.uuid4().hex}",
                    "object": "chat.completion",
                    "model": request["model"],
                    "choices": [choice],
                    "usage": _USAGE,
                }
            )

    def _json(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, message: dict[str, Any]) -> None:
        """A chunk a word; a call of a tool in two, its name and its arguments."""
        calls = message.get("tool_calls") or []
        words = (message["content"] or "").split(" ") if not calls else []
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word if i == 0 else f" {word}"} for i, word in enumerate(words)]
        for i, call in enumerate(calls):
            function = call["function"]
            deltas.append({"tool_calls": [{**call, "index": i, "function": {**function, "arguments": ""}}]})
            deltas.append({"tool_calls": [{"index": i, "function": {"arguments": function["arguments"]}}]})
        ends = "tool_calls" if calls else "stop"
        choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
        choices.append([{"index": 0, "delta": {}, "finish_reason": ends}])
        chunk = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "model": "m"}
        events = [json.dumps({**chunk, "choices": one}) for one in choices]
        events.append(json.dumps({**chunk, "choices": [], "usage": _USAGE}))
        data = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Not on the tests' output."""


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _vectors(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Texts with words in common are near to one another."""
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    return [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]


def _vector(text: str) -> list[float]:
    vector = [0.01] * DIMENSIONS
    for word in text.lower().split():
        vector[sum(map(ord, word.strip(".,?!"))) % DIMENSIONS] += 1.0
    return vector
