"""`langlog threads` and `langlog runs` against a server with custom authentication: what they list, follow, refuse and fit."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langlog.lists.commands import run_columns, thread_columns
from langlog.lists.listing import contains, fits
from langlog.lists.table import Table, columns_of, cut, fitted, shown_time, span, took

from tests.stack.server import SURROUNDINGS, LiveServer, free_port

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.auth.json"
LIMIT_S = 120.0
ALICE = "Authorization: Bearer alice"
NARROW = 80


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("lists")).up() as live:
        yield live


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=server.url, api_key=None, headers={"authorization": "Bearer alice"}) as client:
        yield client


@pytest.fixture(scope="module")
def known(alice: SyncLangGraphClient) -> dict[str, str]:
    """Two threads of alice's, one with a run."""
    plain = alice.threads.create(metadata={"customer": "ada", "order": {"n": 7}})["thread_id"]
    ran = alice.threads.create(metadata={"customer": "bea"})["thread_id"]
    run = alice.runs.create(ran, "echo", input={"text": "hi"})["run_id"]
    alice.runs.join(ran, run)
    return {"plain": plain, "ran": ran, "run": run}


def words(*given: str) -> list[str]:
    return [sys.executable, "-m", "langlog", *given]


def langlog(*given: str, **env: str) -> Done:
    done = subprocess.run(
        words(*given), env={**SURROUNDINGS, **env}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def as_alice(server: LiveServer, *given: str, **env: str) -> Done:
    return langlog(*given, LANGLOG_URL=server.url, LANGLOG_REQUEST_HEADERS=f"{ALICE}\nx-more: 1\n", **env)


def on_a_terminal(columns: int, *given: str, **env: str) -> str:
    """Return a command's output on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # a width in the variables would win over the terminal's own
    surroundings = {name: value for name, value in SURROUNDINGS.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        words(*given), env={**surroundings, **env}, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    printed = b""
    try:
        while more := os.read(ours, 10_000):
            printed += more
    except OSError:  # Linux reports the end of a terminal so
        pass
    finally:
        os.close(ours)
        assert process.wait(LIMIT_S) == 0
    return printed.decode().replace("\r\n", "\n")


def test_lists_are_whole_in_a_pipe_and_newest_first(server: LiveServer, known: dict[str, str]) -> None:
    threads = as_alice(server, "threads")
    assert (threads.code, threads.err) == (0, "")
    title, first, second = threads.out.splitlines()
    assert title.split() == ["THREAD", "STATUS", "GRAPH", "CHANGED", "METADATA"]
    assert re.match(rf"{known['ran']}  idle +echo +\S+T\S+Z  .*customer=bea", first)
    assert re.match(rf"{known['plain']}  idle .*order=\{{\"n\":7\}}", second)
    runs = as_alice(server, "runs")
    assert re.search(rf"{known['run']}  success      echo +{known['ran']}  \S+Z  \d+\.\ds", runs.out)
    assert "\x1b" not in threads.out + runs.out


def test_conditions_are_those_of_the_search(server: LiveServer, known: dict[str, str]) -> None:
    def ids(kind: str, *given: str) -> list[str]:
        return [row[f"{kind[:-1]}_id"] for row in as_alice(server, kind, "--json", *given).rows]

    both = [known["ran"], known["plain"]]
    assert ids("threads") == both
    assert ids("threads", "--limit", "1") == both[:1]
    assert ids("threads", "--metadata", "customer=ada") == [known["plain"]]
    assert ids("threads", "--metadata", '{"order": {"n": 7}}') == [known["plain"]]
    assert ids("threads", "--graph", "echo") == [known["ran"]]
    assert ids("threads", "--status", "busy") == []
    assert ids("threads", "--id-prefix", known["ran"][:35].upper()) == [x for x in both if x[:35] == known["ran"][:35]]
    assert ids("threads", "--from", "1h") == both
    assert ids("threads", "--to", "1h") == []
    assert ids("runs", "--thread", known["ran"]) == [known["run"]]
    assert ids("runs", "--thread", known["plain"]) == []
    assert ids("runs", "--status", "error", "--status", "success", "--from", "1h") == [known["run"]]
    assert ids("runs", "--status", "error") == []
    (row,) = as_alice(server, "runs", "--json").rows
    assert ids("runs", "--assistant", row["assistant_id"]) == [known["run"]]
    assert "kwargs" not in row


def test_a_terminal_gets_lines_that_fit_it_and_colours_unless_it_wants_none(
    server: LiveServer, known: dict[str, str]
) -> None:
    env = {"LANGLOG_URL": server.url, "LANGLOG_REQUEST_HEADERS": ALICE}
    coloured = on_a_terminal(NARROW, "runs", **env)
    assert "\x1b[32msuccess\x1b[0m" in coloured
    plain = on_a_terminal(NARROW, "runs", **env, NO_COLOR="1")
    assert "\x1b" not in plain
    assert all(len(line) <= NARROW for line in plain.splitlines())
    assert f"{known['run'][:8]}…{known['run'][-4:]}" in plain or known["run"] in plain
    assert f"{known['ran'][:8]}…{known['ran'][-4:]}" in plain
    wide = on_a_terminal(NARROW, "runs", "--wide", **env)
    assert known["run"] in wide and known["ran"] in wide
    assert all(len(line) <= 40 for line in on_a_terminal(40, "threads", **env, NO_COLOR="1").splitlines())


def test_a_run_is_a_coloured_timeline_on_a_terminal_and_plain_lines_elsewhere(
    server: LiveServer, known: dict[str, str]
) -> None:
    shown = ("log", "show", known["run"], "--data-dir", str(server.data))
    coloured = on_a_terminal(NARROW, *shown)
    assert "\x1b[32m" in coloured and "━" in coloured
    plain = on_a_terminal(NARROW, *shown, NO_COLOR="1")
    assert "\x1b" not in plain and "━" in plain
    piped = langlog(*shown).out
    assert "\x1b" not in piped and "━" not in piped
    ends = [line.split()[-1] for line in plain.splitlines() if "╌" not in line]  # long gaps have lines of their own
    assert [line.split()[-1] for line in piped.splitlines()] == ends


def test_what_changes_is_printed_as_it_changes_and_as_the_conditions_want(
    server: LiveServer, alice: SyncLangGraphClient, known: dict[str, str]
) -> None:
    def follower(*given: str) -> subprocess.Popen[str]:
        env = {**SURROUNDINGS, "LANGLOG_URL": server.url, "LANGLOG_REQUEST_HEADERS": ALICE}
        return subprocess.Popen(
            words(*given, "--follow"), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def rows(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        assert process.stdout is not None
        watchdog = threading.Timer(LIMIT_S, process.kill)  # what never comes ends the test
        watchdog.daemon = True
        watchdog.start()
        return (json.loads(line) for line in process.stdout)

    runs = follower("runs", "--json", "--graph", "echo")
    threads = follower("threads", "--json", "--metadata", "customer=eve")
    try:
        seen_runs, seen_threads = rows(runs), rows(threads)
        assert next(seen_runs)["run_id"] == known["run"]  # the list comes once the feed is open
        thread = alice.threads.create(metadata={"customer": "eve"})["thread_id"]  # is listed, or comes by the feed
        assert next(seen_threads)["thread_id"] == thread
        other = alice.threads.create(metadata={"customer": "dan"})["thread_id"]
        alice.runs.wait(thread, "slow", input={"ticks": 1, "seconds": 0})
        run = alice.runs.create(thread, "echo", input={"text": "x"})["run_id"]
        assert next(row for row in seen_runs if row["status"] == "success")["run_id"] == run
        for id in (other, thread):
            alice.threads.delete(id)
        seen = []
        while not seen or seen[-1]["status"] != "deleted":
            seen.append(next(seen_threads))
        assert {row["thread_id"] for row in seen} == {thread}
        assert seen[-1] == {"thread_id": thread, "status": "deleted"}
        for process in (runs, threads):
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LIMIT_S)
            assert (process.returncode, err.strip()) == (1, "Aborted!")  # by itself: the watchdog gives -SIGKILL
    finally:
        for process in (runs, threads):
            process.kill()
            process.wait()


def test_a_tenant_lists_its_own(server: LiveServer, known: dict[str, str]) -> None:
    for kind in ("threads", "runs"):
        done = langlog(kind, "--url", server.url, "--header", "Authorization: Bearer bob", "--json")
        assert done == (0, "", "")


@pytest.mark.parametrize("more", [(), ("--follow",)])
def test_what_goes_wrong_is_one_line(server: LiveServer, more: tuple[str, ...]) -> None:
    nobody = langlog("runs", "--url", f"http://127.0.0.1:{free_port()}", *more)
    assert (nobody.code, nobody.out) == (1, "")
    assert re.fullmatch(
        r"langlog: no server answers at http://127\.0\.0\.1:\d+ \(.*\): start it with .*--url.*\n", nobody.err
    )
    stranger = langlog("threads", "--url", server.url, *more)
    assert stranger.code == 1
    assert re.fullmatch(r"langlog: .* refused .* \(401: no credentials\): .*--header .*\n", stranger.err)
    elsewhere = langlog("threads", "--url", f"{server.url}/elsewhere", "--header", ALICE, *more)
    assert elsewhere.code == 1
    assert re.fullmatch(r"langlog: .* has no (POST|GET) /\w+(/search)? \(404\): .*\n", elsewhere.err)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("threads", "--status", "success"), "--status"),
        (("threads", "--id-prefix", "xyz"), "not the beginning of an id"),
        (("runs", "--thread", "x"), "not an id"),
        (("runs", "--assistant", "agent"), "not an id"),
        (("runs", "--metadata", "customer"), "neither KEY=TEXT nor an object in JSON"),
        (("runs", "--metadata", "{1}"), "--metadata"),
        (("runs", "--header", "secret words"), "a header is 'Name: value'"),
        (("runs", "--url", "localhost:2024"), "not the address of a server"),
        (("runs", "--follow", "--to", "1h"), "leave out --to"),
        (("runs", "--follow", "--limit", "5000"), "smaller --limit"),
    ],
)
def test_bad_options_are_refused_before_any_request(given: tuple[str, ...], problem: str) -> None:
    done = langlog(*given)
    assert done.code == 2
    assert problem in " ".join(done.err.split())
    assert "secret words" not in done.err


def test_a_table_fits_every_width_and_shows_hostile_text_in_its_line() -> None:
    now = "2026-01-01T00:00:00.000000+00:00"
    id = "01a225b9-9e6d-712f-a18f-b38bf749d904"
    metadata = {"graph_id": "漢字" * 20, "note": "\x1b[31m\nred" + "x" * 5_000}
    row = {"thread_id": id, "run_id": id, "status": "busy", "metadata": metadata, "updated_at": now, "created_at": now}
    for columns in (thread_columns("iso"), run_columns("age")):
        for width in (*range(1, 200), None):
            for line in Table(columns, width).lines([row, {}]):
                text = re.sub(r"\x1b\[\d*m", "", line)
                assert "\x1b" not in text and "\n" not in text
                assert width is None or columns_of(text) <= width
    short = {**row, "metadata": {"graph_id": "echo", "note": "x" * 100}}
    assert id in list(Table(thread_columns("iso"), 90).lines([short]))[1]
    assert fitted([], [], None) == []
    assert (cut("漢字漢字", 5), cut("abc", 3), cut("abcd", 3)) == ("漢字…", "abc", "ab…")


def test_times_are_short_on_a_terminal_and_whole_elsewhere() -> None:
    now = datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert shown_time("2026-01-01T00:00:00+00:00", "age", now) == "1h"
    assert shown_time("2026-01-01T01:00:00+01:00", "iso", now) == "2026-01-01T00:00:00Z"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", shown_time("2026-01-01T00:00:00+00:00", "clock", now))
    assert (shown_time("soon", "iso", now), shown_time(None, "iso", now)) == ("soon", "")
    assert [span(x) for x in (-1, 59.9, 60, 7_200, 200_000)] == ["0s", "59s", "1m", "2h", "2d"]
    times = {"created_at": "2026-01-01T00:00:00+00:00", "updated_at": "2026-01-01T00:00:02.5+00:00"}
    assert took({**times, "status": "success"}, now) == "2.5s"
    assert took({**times, "status": "running"}, now) == "1h"
    assert took({"status": "deleted"}, now) == ""


def test_the_feed_is_filtered_as_the_search_is() -> None:
    row = {
        "status": "busy", "thread_id": "01ab", "assistant_id": "a",
        "metadata": {"graph_id": "g", "x": {"y": [1, {"z": 2}]}, "flag": True},
    }  # fmt: skip
    assert fits(row, {"status": ["busy", "idle"], "graph_id": "g", "assistant_id": "a", "select": ["status"]})
    assert fits(row, {"metadata": {"x": {"y": [{"z": 2}]}}, "id_prefix": "01a", "status": "busy", "thread_id": "01ab"})
    for wanted in ({"x": {"y": [3]}}, {"x": 1}, {"flag": 1}, {"n": None}):
        assert not fits(row, {"metadata": wanted})
    for wrong in (
        {"status": "idle"},
        {"graph_id": "h"},
        {"assistant_id": "b"},
        {"id_prefix": "02"},
        {"thread_id": "0"},
    ):
        assert not fits(row, wrong)
    assert contains([1, 2], [2]) and not contains({"a": 1}, [1])
