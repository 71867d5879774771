"""Simulated worlds: what a night of them has tried."""

from __future__ import annotations

from typing import Any

TITLE = "Simulated worlds"
FILE = "simulation.json"

TEXT = """\
A *world* is a whole langlog in one thread: gateways, deciders, projectors, schedulers and workers, each as a process that can be killed
or paused, on a network whose delays are drawn. Time is virtual, and everything that is drawn comes from one number, the seed: the same
seed is the same world, callback by callback. Clients make runs, follow, cancel, delete and repeat; faults come in between, then all is
healed, and everything that was begun must end. Faults come alone and in storms, with requests in their midst (owners that are evicted and go
on, commits lost under a takeover, workers that are killed, cut off or stopped in runs, streams over workers that stand still and gateways
that are killed, clients that repeat after a takeover). Then come three acts of seven, one thing at a time with nothing else to excuse what
is late, left or lost: workers stop, commits are lost in the quiet, commits are lost of which no message had come, deciders die before they
commit, a worker is unheard, two deciders, two projectors. `tests/simulation` holds it;
`make simulate SEEDS=10000` lives through so many.

**Real:** the whole code of decider (service, decisions, effects, ownership), projector (service, fold, writing, announcements) and
scheduler (leases, delays, crons, webhooks, expiry); the gateway's commands, replies, watches, streams, joins and waits; the worker's claims,
leases, drains, records, frames, checkpointer and queries; connections to Redis from their protocol up; pools of Postgres; start and stop of
services.

**Stand-ins:** the log (partitions and groups in memory, under the conformance suite of the real adapters), Postgres (a Python function for
each statement, compared with the statement on a real Postgres by `tests/simulation/test_statements.py`; no plans, row locks or snapshots),
Redis (commands in memory, scripts translated, both compared with a real one by `tests/simulation/test_redis_scripts.py`), graphs (stubs that step, stream, sleep, interrupt, fail and block), receivers
of webhooks, HTTP, and the threads of graph loops and leases. The machine's clocks and
chance are closed: a call around the port for them fails the world. Not in worlds: the embedded log, langgraph, authentication, dead letters, the store, encryption, the streaming protocol of threads,
replays, imports, rebuilds.

After every record that is appended: at most one run of a thread is dispatched, attempts follow on each other, an attempt is begun by one
worker, no final state is left, an event counts once under its id (consumers drop repetitions
by their cause, and each is byte for byte what it repeats, also that of an owner that was replaced and goes on), the events of a command are there whole, and each step of a
graph counts once in the thread's values, a command that clients repeat has one outcome, and no command is decided
otherwise a second time. With every push, a task is in one place of Redis. Twice a second, the read model is the log folded record by
record, without those that no consumer counts by the judgement of the worlds. With every answer: a reply says what the read model holds, a wait ends with its run (a gateway that
Redis could not reach may take one for gone whose commit Postgres loses in the same minute, until it is folded again: clients ask again), the ids of a
stream grow, and a stream of a resumable run has every event of its last attempt, over any number of connections and gateways. At the end:
every acknowledged command was decided once, deciders have committed their positions, no record of a past attempt counts, each
webhook was received or given up after its tries, crons have fired, a worker that was stopped has left nothing in Redis, and no process has failed or logged an error."""


def text(figures: dict[str, Any]) -> str:
    failed = figures["failed"]
    lines = [
        TEXT,
        "",
        f"Tried on {figures['date']} (commit {figures['commit']}): **{figures['seeds']:,} worlds**, "
        f"{figures['virtual_hours']:,.1f} virtual hours in {figures['cpu_s'] / 60:,.0f} minutes of one processor, "
        f"{figures['runs']:,} runs, {figures['records']:,} records. Worlds that failed: {len(failed)}"
        + (f" (seeds {', '.join(map(str, failed[:20]))})" if failed else "")
        + f". Owners that found what another had decided from the same commands: "
        f"{figures['marks'].get('decider.decided_by_another', 0)}.",
        "",
        "| fault | times |",
        "| --- | --- |",
        *(f"| {name} | {count:,} |" for name, count in sorted(figures["faults"].items())),
        "",
        "| check | times |",
        "| --- | --- |",
        *(f"| {name} | {count:,} |" for name, count in sorted(figures["checks"].items())),
        "",
        "Found by worlds, and fixed:",
        "",
        *(f"- {found}" for found in FOUND),
    ]
    return "\n".join(lines)


FOUND = (
    "A commit of a decider's positions that failed was not repeated before the next command: after a restart its commands were read and "
    "skipped once more ([`test_positions_of_a_decider_are_committed_although_no_further_command_comes`](../../tests/simulation/test_found.py)).",
    "What a decider decided while such a commit was under way was not committed either, until the next command.",
    "A run that was dropped before its graph began was logged as an error of the server.",
    "Two deciders that owned a partition for a moment both put the same attempt into the hot queue, and two workers executed it beside "
    "each other. A task is now claimed once, however often it is pushed; `make chaos` found it on real servers in the same hour "
    "([`test_a_task_that_is_pushed_again_is_not_claimed_twice`](../../tests/backbone/test_hot_queue.py)).",
    "A projector passed over events when Postgres lost commits twice within seconds, the second time all of a partition's: it still took "
    "them for repetitions of what it had folded before, and the read model lacked them "
    "([`test_what_is_lost_while_positions_are_read_again_is_folded_again`](../../tests/core/test_projection.py)).",
    "A graph that wrote a checkpoint after its attempt was dropped was logged as an error of the server "
    "([`test_a_graph_that_goes_on_after_its_thread_was_deleted_is_no_error_of_the_server`](../../tests/simulation/test_found.py)).",
    "A new owner of commands loaded a thread that showed what the former owner, which went on for a moment, had decided from the same "
    "commands. It decided them otherwise: folding dropped these events, but its memory differed from the log, and a run could end "
    "again ([`test_a_new_owner_does_not_decide_again_what_the_former_one_decides_meanwhile`](../../tests/executor/test_two_owners.py)).",
    "Frames that a worker published after it had been taken for dead had later ids than the first ones of the next attempt: a stream that was "
    "resumed then repeated events of the lost attempt, or left out the first ones of the next "
    "([`test_a_stream_goes_on_from_its_frame_although_a_lost_worker_has_published_later_ones`](../../tests/simulation/test_found.py)).",
    "A repeated request to make a cron was answered with 404 while the projector was behind: the repetition was in another topic than what it "
    "repeats, and was folded first "
    "([`test_a_repetition_is_read_behind_the_first_outcome_and_answered_with_it`](../../tests/executor/test_repeated_commands.py)).",
    "Two attempts of a run published in the same millisecond, the lost one as soon as it reached Redis again, and their first frames had the "
    "same id ([`test_frames_of_two_attempts_in_one_millisecond_have_ids_of_their_own`](../../tests/simulation/test_found.py)).",
    "A stream that read frames which Redis had lost, and whose next read failed because Postgres was away, dropped the frames that it had read "
    "([`test_frames_that_were_found_before_a_read_failed_are_not_lost`](../../tests/gateway/test_frames.py)).",
    "Redis was silent until a projector's connection was closed, and answered again before the gateway's subscription was: the message of a "
    "run's end was lost, only its publisher noticed, and the stream never ended. Publishers now say that they have lost messages "
    "([`test_a_stream_ends_although_the_message_of_its_end_was_lost_on_the_way_to_redis`](../../tests/simulation/test_found.py)).",
)
