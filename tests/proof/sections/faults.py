"""Faults of the real thing: the design's table of failures with the tests that bring each about, and how long clients wait."""

from __future__ import annotations

from typing import Any, NamedTuple

TITLE = "Faults of real parts"
FILE = "faults.json"


class Row(NamedTuple):
    fails: str
    seen: str
    lost: str
    tests: tuple[str, ...]
    """``file::name`` below ``tests``, of what kills, stops, fills or cuts the real thing."""


KILLED = "loss/test_loss.py::test_killing_a_part_under_load_loses_nothing"
STOPPED = "faults/test_stopped.py::test_a_part_that_stands_still_and_goes_on_changes_nothing"
CUT = "faults/test_cut_off.py::test_a_process_that_is_cut_off_from_a_server_changes_nothing"
APART = "faults/test_brokers_apart.py::test_a_broker_that_is_cut_off_from_the_others_loses_nothing"
TWO_APART = "faults/test_brokers_apart.py::test_two_brokers_that_do_not_hear_each_other_lose_nothing"
KILLED_BROKER = "faults/test_servers.py::test_a_broker_that_is_killed_loses_nothing_acknowledged"
FULL = "faults/test_disks.py::test_a_full_disk_loses_nothing_and_all_goes_on_when_there_is_room"
SLOW = "faults/test_disks.py::test_a_slow_disk_loses_nothing"
OUTAGE = "outage/test_outages.py::test_an_outage_under_load_loses_nothing_and_ends_nothing"
LOCKED = "faults/test_servers.py::test_a_table_that_somebody_locks_loses_nothing"
UNCONNECTED = "faults/test_servers.py::test_a_postgres_without_a_connection_left_loses_nothing"
MEMORY = "faults/test_servers.py::test_a_redis_at_its_memory_limit_loses_nothing"
STEPPED = "faults/test_clock_steps.py::test_clocks_that_are_stepped_by_an_hour_and_by_a_day_change_nothing"
DEPLOYED = "faults/test_deploys.py::test_a_rolling_deploy_loses_nothing"
BROKER = "log/test_kafka_broker_killed.py::test_a_killed_broker_loses_nothing_acknowledged_and_doubles_nothing"
NO_BROKER = (
    "log/test_kafka_broker_killed.py::test_while_no_broker_answers_appends_fail_at_once_and_afterwards_work_again"
)
DISKS_LOST = (
    "log/test_kafka_disk_gone.py::test_brokers_that_lose_their_disks_one_after_the_other_lose_nothing_acknowledged"
)

ROWS = (
    Row("a gateway", "reconnects; streams resume by `Last-Event-ID`", "nothing", (KILLED, STOPPED, CUT)),
    Row("a decider", "writes pause until its partitions have moved", "nothing", (KILLED, STOPPED, CUT)),
    Row(
        "a worker, in mid-node",
        "the run goes on elsewhere from its last checkpoint",
        "work since that checkpoint is done again",
        (KILLED, "loss/test_loss.py::test_a_run_killed_in_mid_node_goes_on_from_its_last_checkpoint", STOPPED, CUT),
    ),
    Row("a projector", "writes and reads after them pause, other reads go on", "nothing", (KILLED, STOPPED, CUT)),
    Row(
        "a scheduler",
        "crons are late, not missed",
        "nothing",
        (
            KILLED,
            STOPPED,
            CUT,
            "scheduler/test_crons.py::test_each_of_200_due_times_fires_exactly_once_whenever_a_scheduler_is_killed",
        ),
    ),
    Row(
        "Redis is killed or wiped",
        "streams reconnect, the queue is rebuilt",
        "frames not yet recorded",
        (KILLED, OUTAGE, STOPPED),
    ),
    Row("Postgres", "503 with `Retry-After` on reads; the log still accepts", "nothing", (KILLED, OUTAGE, STOPPED)),
    Row(
        "Kafka",
        "503 on writes, reads go on, runs pause",
        "nothing acknowledged",
        (KILLED_BROKER, BROKER, NO_BROKER, STOPPED),
    ),
    Row("a broker's disk is gone", "nothing, where three hold each record", "nothing acknowledged", (DISKS_LOST,)),
    Row(
        "Postgres loses its last commits",
        "a pause",
        "nothing: they are folded again",
        (
            KILLED,
            "outage/test_lost_commits.py::test_what_postgres_loses_comes_back_although_nothing_more_is_written",
            "outage/test_lost_commits.py::test_nothing_is_decided_on_what_postgres_has_forgotten",
        ),
    ),
    Row(
        "Postgres restarts, ends connections, is read-only, has none left, or is locked",
        "503 with `Retry-After`; services stay up",
        "nothing",
        (OUTAGE, UNCONNECTED, LOCKED),
    ),
    Row("Redis refuses writes", "as when it is away; services stay up", "frames not yet recorded", (OUTAGE, MEMORY)),
    Row(
        "brokers of a cluster do not hear each other",
        "writes pause until others lead, at most as long as the cut and a session",
        "nothing acknowledged",
        (APART, TWO_APART),
    ),
    Row("the network between two parts", "a pause at most as long as the cut, and a session", "nothing", (CUT,)),
    Row(
        "a disk is full",
        "503 on writes while it is the log's; all goes on when there is room",
        "nothing: what was refused took no effect",
        (FULL, OUTAGE),
    ),
    Row("a disk is slow", "writes take longer", "nothing", (SLOW,)),
    Row(
        "clocks differ or step",
        "nothing: order is the log's",
        "nothing",
        (STEPPED, "clocks/test_moved_clocks.py::test_every_acknowledged_update_is_there_whatever_the_clocks_say"),
    ),
    Row(
        "a deploy stops everything in turn",
        "nothing but moved connections",
        "nothing",
        (DEPLOYED, "outage/test_stopping.py::test_a_worker_ends_with_the_step_under_way_and_its_runs_go_on_elsewhere"),
    ),
    Row(
        "everything at once",
        "down until it is started again; no file to remove by hand",
        "nothing",
        (
            "faults/test_everything.py::test_everything_is_killed_at_once_and_nothing_is_lost",
            "embedded/test_embedded.py::test_what_a_power_cut_leaves_behind_may_name_the_pid_of_a_living_process",
            "outage/test_stopping.py::test_services_end_while_the_servers_are_unavailable",
        ),
    ),
    Row(
        "a report cannot be encoded",
        "the run ends with an error that reports it",
        "nothing",
        ("executor/test_run_execution.py::test_an_end_that_cannot_be_reported_as_it_is_is_reported_all_the_same",),
    ),
    Row(
        "a record cannot be folded, or decided",
        "its key is parked, all others go on",
        "nothing",
        (
            "dead/test_events.py::test_an_event_that_cannot_be_folded_parks_its_thread_and_no_other",
            "dead/test_commands.py::test_a_command_on_which_deciding_fails_parks_its_thread_and_the_decider_goes_on",
        ),
    ),
)

TEXT = """\
Each row is a test that kills, stops, fills, cuts or slows a real process, server, disk or network, with a load going on. Afterwards every
acknowledged run has ended once, and one order of all calls explains what the clients saw: threads that several make under one id, threads
as queues under each multitask strategy, interrupts that several answer, and items of the store, each try of each client written down and
judged by the search of Wing and Gong (`tests/history`). A call that was refused with 503 must not have taken effect; one whose outcome is
unknown may have, at any time later."""

PAUSES = """\
How long clients waited while the fault was there, over all of their tries, two of each service on one machine of two cores that did other
work too. *Calls* are requests until they were answered; p50 and longest, in milliseconds. Sessions of deciders and projectors were 2 s,
leases 4 s: a longest pause as long as the fault says that what was stopped could not be replaced (a server, the gateway of the call, the
owner of the embedded log), or was waited for. `make faults` measures it anew."""


def link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../../tests/{path})"


def text(figures: dict[str, Any]) -> str:
    lines = [TEXT, "", "| what fails | what clients see | what is lost | tests |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.fails} | {row.seen} | {row.lost} | {', '.join(map(link, row.tests))} |" for row in ROWS]
    lines += ["", PAUSES, "", f"Measured on {figures['date']} (commit {figures['commit']}):", ""]
    lines += [
        "| fault | lasted, s | embedded: p50 | longest | Kafka: p50 | longest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(figure) for figure in figures["faults"]]
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    cells = [figure["fault"], f"{max(figure[log]['seconds'] for log in ('sqlite', 'kafka') if log in figure):.1f}"]
    for log in ("sqlite", "kafka"):
        known = figure.get(log, {})
        cells += [f"{known['calls_p50_ms']:.0f}", f"{known['calls_max_ms']:,}"] if known.get("calls") else ["", ""]
    return f"| {' | '.join(cells)} |"
