"""Owners of the partitions of a group on Kafka."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st
from langlog_backbone.log.kafka.sharing import Claim, Sharing, share

NUMBERS = range(8)
TOPICS = ("commands", "run-events")


class Cluster:
    """The part of aiokafka's metadata that an assignor uses."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(NUMBERS)


@dataclass
class Member:
    sharing: Sharing = field(default_factory=Sharing)
    works_on: set[int] = field(default_factory=set)
    id: str = ""


class Group:
    """Members that join, work, let go and join again, as `KafkaMember` does."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._count = 0

    def join(self) -> None:
        member = Member()
        self._named(member)
        self.members.append(member)

    def forget(self, member: Member) -> None:
        """The group throws it out; it comes back with all it believes to own."""
        self._named(member)

    def _named(self, member: Member) -> None:
        self._count += 1
        member.id = f"member-{self._count * 7919 % 100}-{self._count}"

    def rebalance(self, absent: Member | None = None) -> bool:
        """Execute one round, without a silent member. Return whether a member has released something: then another one follows."""
        present = [m for m in self.members if m is not absent]
        joining = {m.id: m.sharing.metadata(TOPICS) for m in present}
        answers = present[0].sharing.assign(Cluster(), joining)
        released = False
        for member in present:
            member.sharing.on_assignment(answers[member.id])
            partitions = {topic: set(parts) for topic, parts in answers[member.id].assignment}
            assert partitions["commands"] == partitions["run-events"]
            released |= bool(member.sharing.owned - partitions["commands"])
            member.works_on = member.sharing.owned = partitions["commands"]
        return released

    def settle(self) -> int:
        """Rounds until nothing moves any more."""
        rounds = 1
        while self.rebalance():
            self.check()
            rounds += 1
        self.check()
        assert set().union(*(m.works_on for m in self.members)) == set(NUMBERS)
        sizes = [len(m.works_on) for m in self.members]
        assert max(sizes) - min(sizes) <= 1
        return rounds

    def check(self) -> None:
        owned = [number for member in self.members for number in member.works_on]
        assert len(owned) == len(set(owned)), "a partition has two owners"


def test_a_new_member_gets_its_share_in_two_rounds_and_nothing_else_moves() -> None:
    group = Group()
    group.join()
    assert group.settle() == 1
    group.join()
    before = set(group.members[0].works_on)
    assert group.rebalance()
    assert group.members[0].works_on < before
    assert group.members[1].works_on == set()
    assert not group.rebalance()
    assert group.members[1].works_on == before - group.members[0].works_on
    assert len(group.members[1].works_on) == 4


def test_what_a_member_leaves_goes_to_the_others_in_one_round() -> None:
    group = Group()
    for _ in range(3):
        group.join()
    group.settle()
    del group.members[1]
    before = [set(member.works_on) for member in group.members]
    assert group.settle() == 1
    assert all(member.works_on > had for member, had in zip(group.members, before, strict=True))


def test_of_two_that_claim_a_partition_the_later_one_has_it() -> None:
    late = Claim(round=4, owned=[0, 1])
    assert share({"a": Claim(round=3, owned=[0, 1]), "b": late}, range(2)) == {"a": [], "b": [0]}


def test_members_of_an_earlier_version_get_a_share_too() -> None:
    old = ConsumerProtocolMemberMetadata(0, list(TOPICS), b"")
    ours = Sharing()
    given_out = ours.assign(Cluster(), {"old": old, "ours": ours.metadata(TOPICS)})
    numbers = {member: dict(answer.assignment)["commands"] for member, answer in given_out.items()}
    assert sorted(numbers["old"] + numbers["ours"]) == list(NUMBERS)
    assert len(numbers["old"]) == 4


def test_a_topic_that_only_some_members_follow_is_shared_out_among_them() -> None:
    old = ConsumerProtocolMemberMetadata(0, ["commands"], b"")
    ours = Sharing()
    given_out = ours.assign(Cluster(), {"old": old, "ours": ours.metadata(TOPICS)})
    assert dict(given_out["ours"].assignment)["run-events"] == list(NUMBERS)
    assert "run-events" not in dict(given_out["old"].assignment)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80", b"\x91\xa1x"])
def test_what_cannot_be_read_is_no_claim(data: bytes) -> None:
    ours = Sharing()
    members = {"other": ConsumerProtocolMemberMetadata(0, list(TOPICS), data), "ours": ours.metadata(TOPICS)}
    assert set(ours.assign(Cluster(), members)) == set(members)


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "half", "silent"]), st.integers(0, 9)), max_size=12))
def test_whatever_happens_no_partition_has_two_owners_and_all_have_one_in_the_end(moves: list[tuple[str, int]]) -> None:
    group = Group()
    group.join()
    group.settle()
    for move, which in moves:
        member = group.members[which % len(group.members)]
        if move == "join":
            group.join()
        elif move == "leave" and len(group.members) > 1:
            group.members.remove(member)
        elif move == "half":
            group.rebalance()
            group.check()
            continue
        elif move == "silent" and len(group.members) > 1:
            while group.rebalance(absent=member):
                pass
            group.forget(member)
            member.works_on = set()  # it is told its new id, and takes nothing for its own that it had
        assert group.settle() <= 3
