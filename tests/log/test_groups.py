"""Ownership of partitions, on both logs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Mapping

import pytest
from langlog_backbone.log import Log, TopicPartition
from langlog_backbone.process.settings import Settings
from structlog.testing import capture_logs

from tests.log.conftest import LIMIT_S, Following, OpenLog, RecordedAssignment, record, stopped_after, take
from tests.log.test_processes import Subprocess

TOPICS = ("commands", "run-events")


async def test_the_only_member_owns_every_partition_and_starts_where_it_says(log: Log) -> None:
    positions = await log.append([record(f"key {i}", f"{i}") for i in range(60)])
    done = {("commands", p): max([q.offset for q in positions if q.partition == p], default=-1) + 1 for p in range(3)}
    assignment = RecordedAssignment({partition: offset for partition, offset in done.items() if offset})
    following = Following(log.member("deciders", TOPICS, assignment))
    left = 60 - sum(done.values())
    result = await following.until(left)
    assert len(result) == left
    assert assignment.history == [("assigned", {(topic, p) for topic in TOPICS for p in range(log.partitions)})]
    assert all(r.partition not in range(3) for r in result)
    await following.stop()


async def test_groups_do_not_know_each_other(log: Log) -> None:
    members = [Following(log.member(group, ["commands"], RecordedAssignment())) for group in ("deciders", "projectors")]
    await log.append([record(f"key {i}", f"{i}") for i in range(20)])
    for member in members:
        assert len(await member.until(20)) == 20
    for member in members:
        await member.stop()


async def test_a_partition_has_one_owner_and_the_next_takes_over_when_he_leaves(
    settings: Settings, open_started: OpenLog
) -> None:
    first_log, second_log = await open_started(settings), await open_started(settings)
    everything = {(topic, p) for topic in TOPICS for p in range(settings.partitions)}
    first, second = RecordedAssignment(), RecordedAssignment()
    following_first = Following(first_log.member("deciders", TOPICS, first))
    await first.until(lambda: first.owned == everything)
    following_second = Following(second_log.member("deciders", TOPICS, second))
    if first_log.name == "kafka":
        # Kafka shares out: partition n of every topic to the same member
        await second.until(lambda: bool(second.owned))
        await first.until(lambda: not first.owned & second.owned and first.owned | second.owned == everything)
        assert {p for _, p in first.owned}.isdisjoint({p for _, p in second.owned})
    else:
        await first_log.append([record(f"key {i}", "x") for i in range(20)])
        await following_first.until(20)
        assert second.owned == set()
    await following_first.stop()
    await second.until(lambda: second.owned == everything)
    (position,) = await first_log.append([record("after", "the change")])
    while not any((r.partition, r.offset) == position for r in following_second.records):
        await following_second.until(len(following_second.records) + 1)
    await following_second.stop()


async def test_the_next_member_takes_over_when_the_owner_is_killed(
    make_log_settings: Callable[..., Settings], open_started: OpenLog
) -> None:
    settings = make_log_settings(group_session_s=2.0)
    log = await open_started(settings)
    owner = await Subprocess.start(settings, "member", "deciders")
    await owner.heard("assigned")
    await log.append([record("a", "x")])
    await owner.heard("read")
    assignment = RecordedAssignment()
    following = Following(log.member("deciders", ["commands"], assignment))
    everything = {("commands", p) for p in range(settings.partitions)}
    if log.name == "kafka":
        await assignment.until(lambda: bool(assignment.owned))
    await owner.kill()
    await assignment.until(lambda: assignment.owned == everything)
    await log.append([record(f"key {i}", "y") for i in range(10)])
    while sum(r.value == b"y" for r in following.records) < 10:
        await following.until(len(following.records) + 1)
    await following.stop()


def key_in(log: Log, parts: Collection[int]) -> str:
    return next(key for n in range(10_000) if log.partition_of(key := f"key {n}") in parts)


def numbers(partitions: Collection[TopicPartition]) -> set[int]:
    return {part for _, part in partitions}


async def test_only_what_moves_is_revoked_and_assigned(settings: Settings, open_started: OpenLog) -> None:
    first_log, second_log = await open_started(settings), await open_started(settings)
    everything = {("commands", p) for p in range(settings.partitions)}
    first, second = RecordedAssignment(), RecordedAssignment()
    following_first = Following(first_log.member("deciders", ["commands"], first))
    await first.until(lambda: first.owned == everything)
    following_second = Following(second_log.member("deciders", ["commands"], second))
    if first_log.name == "kafka":
        await second.until(lambda: len(second.owned) == settings.partitions // 2)
        assert first.history == [("assigned", everything), ("revoked", second.owned)]
        assert second.history == [("assigned", second.owned)]
    moved = set(second.owned)
    await following_first.stop()
    await second.until(lambda: second.owned == everything)
    assert second.history[-1] == ("assigned", everything - moved)
    assert second.history == ([("assigned", moved)] if moved else []) + [("assigned", everything - moved)]
    await following_second.stop()


async def test_what_stays_with_a_member_is_read_while_a_rebalance_waits_for_another(
    make_log_settings: Callable[..., Settings], open_started: OpenLog
) -> None:
    settings = make_log_settings(group_session_s=2 * LIMIT_S)
    log, late_log = await open_started(settings), await open_started(settings)
    assignment, late = RecordedAssignment(), RecordedAssignment()
    following = Following(log.member("deciders", ["commands"], assignment))
    await assignment.until(lambda: bool(assignment.owned))
    frozen = await Subprocess.start(settings, "member", "deciders")
    if log.name == "kafka":
        await frozen.heard("assigned")
    frozen.signal(signal.SIGSTOP)
    newcomer = Following(late_log.member("deciders", ["commands"], late))
    try:
        await log.append([record(key_in(log, numbers(assignment.owned)), "x")])
        result = await following.until(1)
        assert [r.value for r in result] == [b"x"]
        assert not late.owned
        # a member that waits for the rebalance leaves all the same
        with capture_logs() as said:
            await asyncio.wait_for(newcomer.stop(), LIMIT_S)
        assert [event for event in said if event["log_level"] == "warning"] == []
    finally:
        await frozen.kill()
    await following.stop()


async def test_a_member_that_was_silent_for_too_long_takes_over_what_it_had(
    make_log_settings: Callable[..., Settings], open_started: OpenLog
) -> None:
    settings = make_log_settings(group_session_s=2.0)
    log = await open_started(settings)
    if log.name != "kafka":
        return  # a frozen owner keeps its lock: the embedded log's processes are on one machine
    silent = await Subprocess.start(settings, "member", "deciders")
    await silent.heard("assigned")
    silent.signal(signal.SIGSTOP)
    assignment = RecordedAssignment()
    following = Following(log.member("deciders", ["commands"], assignment))
    await assignment.until(lambda: len(assignment.owned) == settings.partitions)
    silent.signal(signal.SIGCONT)
    await silent.heard("revoked")
    assert f"revoked {settings.partitions}" in silent.lines
    await silent.heard("assigned", 2)
    await following.stop()
    await silent.kill()


async def test_a_member_knows_whether_it_is_alone(settings: Settings, open_started: OpenLog) -> None:
    first_log, second_log = await open_started(settings), await open_started(settings)
    first, second = RecordedAssignment(), RecordedAssignment()
    reader = first_log.member("deciders", ["commands"], first)
    following_first = Following(reader)
    await first.until(lambda: bool(first.owned))
    assert reader.alone()
    following_second = Following(second_log.member("deciders", ["commands"], second))
    if first_log.name == "kafka":
        await second.until(lambda: bool(second.owned))
        assert not reader.alone()
    await following_first.stop()
    await following_second.stop()


async def test_committed_positions_are_remembered_and_never_go_backwards(
    settings: Settings, open_started: OpenLog
) -> None:
    log = await open_started(settings)
    partitions = [("commands", 0), ("commands", 1), ("run-events", 0)]
    assert await log.committed("projectors", partitions) == {}
    await log.append([record(f"key {i}", "x", topic) for i in range(200) for topic in TOPICS])
    await log.commit("projectors", {("commands", 0): 5, ("run-events", 0): 7})
    await log.commit("projectors", {("commands", 0): 3, ("commands", 1): 1})
    expected = {("commands", 0): 5, ("run-events", 0): 7, ("commands", 1): 1}
    assert await log.committed("projectors", partitions) == expected
    assert await log.committed("deciders", partitions) == {}
    await log.stop()
    again = await open_started(settings)
    await again.commit("projectors", {("commands", 0): 4})
    assert await again.committed("projectors", partitions) == expected
    assert await again.committed("projectors", partitions[:1]) == {("commands", 0): 5}


async def test_a_member_commits_what_it_owns(log: Log) -> None:
    assignment = RecordedAssignment()
    following = Following(log.member("projectors", ["commands"], assignment))
    await log.append([record(f"key {i}", "x") for i in range(20)])
    await following.until(20)
    await log.commit("projectors", {("commands", p): 1 for p in range(log.partitions)})
    partitions = [("commands", p) for p in range(log.partitions)]
    assert await log.committed("projectors", partitions) == dict.fromkeys(partitions, 1)
    await following.stop()


async def test_an_assignment_that_fails_is_told_again_at_the_next_read(log: Log) -> None:
    class FailsOnce(RecordedAssignment):
        failed = False

        async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
            if not self.failed:
                self.failed = True
                raise RuntimeError("not an outage, which a reader would wait out")
            return await super().assigned(partitions)

    assignment = FailsOnce()
    await log.append([record("a", "x")])
    async with stopped_after(log.member("deciders", ["commands"], assignment)) as member:
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(member.read(), LIMIT_S)
        assert len(await take(member, 1)) == 1
    assert [what for what, _ in assignment.history] == ["assigned"]


@pytest.mark.parametrize("when", ["before anything came", "while it waits"])
async def test_a_member_may_stop_at_any_time(log: Log, when: str) -> None:
    assignment = RecordedAssignment()
    member = log.member("deciders", ["commands"], assignment)
    if when == "while it waits":
        reading = asyncio.create_task(member.read())
        await assignment.until(lambda: bool(assignment.owned))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await asyncio.wait_for(member.stop(), LIMIT_S)
    other = RecordedAssignment()
    following = Following(log.member("deciders", ["commands"], other))
    await other.until(lambda: bool(other.owned))
    await following.stop()


async def test_the_positions_of_all_groups_can_be_seen_without_joining_any(log: Log) -> None:
    positions = await log.append([record("one", "1"), record("two", "2", "run-events")])
    partitions = {("commands", positions[0].partition): 1, ("run-events", positions[1].partition): 1}
    await log.commit("seen-a", partitions)
    await log.commit("seen-b", {("commands", positions[0].partition): 1})
    await log.committed("seen-a", partitions)
    result = await log.group_positions()
    assert result["seen-a"] == partitions
    assert result["seen-b"] == {("commands", positions[0].partition): 1}
