"""All faults at random, on three brokers and two of each service: what a run of `make chaos` has found."""

from __future__ import annotations

from typing import Any

TITLE = "Chaos"
FILE = "chaos.json"

TEXT = """\
`make chaos MINUTES=60` runs three brokers (KRaft, three replicas, two in sync) and two of each service, with a load of threads, runs by
every multitask strategy, interrupts, store items and crons, and beside it batches of cheap runs, hundreds of them at once. Two sequences of faults,
drawn from a seed, befall it side by side for 0.5 to 12 s each; among them is a broker that is cut off from the two others. At the end each history is judged, each run must have been made once, and have ended once with its own output, and `langlog verify` and `rebuild` compare the read model with
the log. Full disks of brokers are not among its faults; [tests](../../tests/faults/test_disks.py) have them."""

FOUND = (
    "A decider that had lost its partitions and did not know it yet dispatched what the new owner had dispatched, and two workers executed "
    "the same attempt side by side: an answer to an interrupt that was acknowledged was lost. A task that is pushed again is ignored now "
    "([`test_a_task_that_is_pushed_again_is_not_claimed_twice`](../../tests/backbone/test_hot_queue.py)).",
    "A service ended at its start when the broker that it happened to ask first was away "
    "([`test_a_log_opens_while_one_of_three_brokers_is_away`](../../tests/log/test_kafka_disk_gone.py)). While one of them stands still and "
    "takes connections all the same, a start may still fail, and a supervisor has to repeat it.",
)


def text(figures: dict[str, Any]) -> str:
    calls = figures["calls"]
    every = figures["pauses_of_all"]
    lines = [
        TEXT,
        "",
        f"Run on {figures['date']} (commit {figures['commit']}, seed {figures['seed']}) for {figures['minutes']} minutes on two cores that did "
        f"other work too: **{figures['acknowledged_runs']:,} acknowledged runs**{_rates(figures)}, {figures['runs_of_crons']:,} runs of crons, "
        f"{calls['answered']:,} calls answered, {calls.get('refused', 0):,} refused, {calls.get('unknown', 0):,} of unknown outcome, "
        f"{figures['faults_total']} faults. **Violations: {len(figures['violations'])}.** A client waited {every['calls_p50_ms']:.0f} ms (p50) "
        f"and at most {every['calls_max_ms'] / 1000:.1f} s for an answer, over all of its tries.",
        "",
        *(f"Not ended as planned: {failed.splitlines()[0]}\n" for failed in figures["faults_failed"]),
        "| fault | times | calls: p50, ms | longest, ms |",
        "| --- | --- | --- | --- |",
    ]
    for kind, times in figures["faults"].items():
        seen = figures["pauses"].get(kind, {})
        shown = f"{seen['calls_p50_ms']:.0f} | {seen['calls_max_ms']:,}" if seen.get("calls") else " | "
        lines.append(f"| {kind} | {times} | {shown} |")
    lines += ["", "Found by it, and fixed:", "", *(f"- {found}" for found in FOUND)]
    return "\n".join(lines)


def _rates(figures: dict[str, Any]) -> str:
    rates = figures.get("runs_a_minute")
    if rates is None:
        return ""
    return (
        f" ({rates['mean']:,} a minute; of half minutes {rates['least']:,} to {rates['most']:,}, p50 {rates['p50']:,})"
    )
