"""``python -m bench.first_answer``: from `git clone` to the first word of a streamed answer, as a new user experiences it.

Each round clones this checkout's commit from the disk, runs ``make dev`` in the clone, and sends the example a message as soon as it
listens. It starts without environment and data. ``--installer pip`` hides uv from make. With cold caches the installer's cache
is a new folder in each round, so that all packages come from the index; with warm ones it is a folder that one more round has filled.
The kernel's page cache is not dropped.

Prints each round with its stages and the machine's load, and the medians.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.stack.server import SURROUNDINGS, free_port

ROOT = Path(__file__).parents[1]
LIMIT_S = 600.0
GOALS_S = {"cold": 40.0, "warm": 10.0}
"""On a quiet machine, with uv."""


class Round(NamedTuple):
    """Seconds of each stage, the CPU seconds of all of it (its end included), and the load average of the last minute."""

    clone: float
    install: float
    start: float
    answer: float
    cpu: float
    load: float

    @property
    def total(self) -> float:
        return self.clone + self.install + self.start + self.answer


def one_round(installer: str, cache: Path) -> Round:
    with tempfile.TemporaryDirectory(prefix="langlog-first-") as folder:
        clone, port = Path(folder) / "langlog", free_port()
        spent = _cpu_s()
        began = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        cloned = time.perf_counter()
        env = SURROUNDINGS | {"UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache), "PORT": str(port)}
        words = ["make", "dev", *(["UV="] if installer == "pip" else [])]
        dev = subprocess.Popen(
            words,
            cwd=clone,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            installed = _wait_for(dev, "langlog: installed in")
            listens = _wait_for(dev, "langlog listens on")
            answered = _request(port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(dev.pid, signal.SIGINT)
            dev.communicate(timeout=LIMIT_S)
        stages = (cloned - began, installed - cloned, listens - installed, answered - listens)
        return Round(*stages, _cpu_s() - spent, os.getloadavg()[0])


def _cpu_s() -> float:
    """Return the CPU seconds of all ended children, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for(dev: subprocess.Popen[str], words: str) -> float:
    """Return the time of this output. Raises RuntimeError with the whole output if it ends without it."""
    assert dev.stdout is not None
    output = []
    for line in dev.stdout:
        output.append(line)
        if words in line:
            return time.perf_counter()
    raise RuntimeError(f"`make dev` ended before it said {words!r}:\n{''.join(output)}")


def _request(port: int) -> float:
    """Return the time of the first word of the answer to a first message."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    question = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"assistant_id": "chat", "input": question, "stream_mode": "messages-tuple"}
    connection.request("POST", "/runs/stream", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the first question was answered with {answer.status}: {answer.read(1000)!r}")
    for line in answer:
        if line.startswith(b"data:") and b'"content":"You' in line.replace(b": ", b":"):
            answered_at = time.perf_counter()
            connection.close()
            return answered_at
    raise RuntimeError("the stream of the first question ended without an answer")


def measure(installer: str, caches: str, rounds: int) -> list[Round]:
    measured: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="langlog-cache-") as folder:
        if caches == "warm":
            one_round(installer, Path(folder) / "warm")
        for number in range(rounds):
            measured.append(one_round(installer, Path(folder) / ("warm" if caches == "warm" else f"cold-{number}")))
            print(f"  {_shown(measured[-1])}, load {measured[-1].load:.1f}", flush=True)
    return measured


def _shown(each: Round) -> str:
    stages = (each.total, each.clone, each.install, each.start, each.answer, each.cpu)
    return "{:.1f} s (clone {:.1f}, install {:.1f}, start {:.1f}, answer {:.1f}), CPU {:.1f} s".format(*stages)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.first_answer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--installer", choices=["uv", "pip"], default="uv")
    parser.add_argument("--caches", choices=["cold", "warm", "both"], default="both")
    args = parser.parse_args()
    missed = False
    for caches in ("cold", "warm") if args.caches == "both" else (args.caches,):
        print(f"{args.installer}, {caches} caches, {os.cpu_count()} cores:", flush=True)
        rounds = measure(args.installer, caches, args.rounds)
        total = statistics.median(each.total for each in rounds)
        middle = Round(*(statistics.median(stage) for stage in zip(*rounds, strict=True)))
        missed |= total > GOALS_S[caches]
        print(
            f"{args.installer}, {caches}: median {total:.1f} s, goal {GOALS_S[caches]:.0f} s; by stage {_shown(middle)}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
