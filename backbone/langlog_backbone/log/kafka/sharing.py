"""Assignment of a group's partitions to members: few partitions move, and none moves while its owner still works on it.

A member lists the partitions that it owns in its join request. The leader of the group distributes them evenly and leaves each
member its own, as far as that is even. A partition moves in two rounds (as in KIP-429): in the first no member is assigned
it, so its owner releases it; the owner then joins again, and the second round assigns it to the new owner. Members keep
working on all other partitions meanwhile.

The protocol is called ``range`` like aiokafka's own, which earlier versions of langlog use: a group of both kinds works while they are
replaced. A member of the earlier kind claims nothing, and releases everything before each round.

Pure except `Sharing`, which holds one member's claim.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

VERSION = 0
"""Version of the consumer protocol's structures."""


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """A member's claim in its join request. ``round``: that of the last assignment that it has received; ``owned``: partition numbers."""

    round: int = 0
    owned: list[int] = []


class Assigned(msgspec.Struct, array_like=True, frozen=True):
    """The leader's data beside an assignment. ``member``: id of the member it is for; ``members``: size of the group."""

    round: int = 0
    member: str = ""
    members: int = 0


_claims = msgspec.msgpack.Decoder(Claim)
_givens = msgspec.msgpack.Decoder(Assigned)


def share(claims: Mapping[str, Claim], numbers: Collection[int]) -> dict[str, list[int]]:
    """Return the partition numbers of each member. Partitions that their present owner must release first are assigned to no member."""
    owner: dict[int, str] = {}
    for member in sorted(claims, key=lambda m: (claims[m].round, m)):  # of two claims the later round's counts
        owner.update(dict.fromkeys(claims[member].owned, member))
    owned = {member: [n for n in sorted(numbers) if owner.get(n) == member] for member in claims}
    least, extra = divmod(len(numbers), len(claims))
    target: dict[int, str] = {}
    room: list[str] = []
    for rank, member in enumerate(sorted(claims, key=lambda m: (-len(owned[m]), m))):
        quota = least + (rank < extra)
        kept = owned[member][:quota]
        target.update(dict.fromkeys(kept, member))
        room += [member] * (quota - len(kept))
    for number, member in zip((n for n in sorted(numbers) if n not in target), room, strict=True):
        target[number] = member
    shares: dict[str, list[int]] = {member: [] for member in claims}
    for number in sorted(target):
        if owner.get(number, target[number]) == target[number]:
            shares[target[number]].append(number)
    return shares


class Sharing:
    """An assignor in aiokafka's form, one for each member. Belongs to the member's event loop."""

    name = "range"

    def __init__(self) -> None:
        self.owned: set[int] = set()
        """Partition numbers that this member claims."""
        self.given = Assigned()
        """Data of the last assignment; empty if a leader of an earlier version made it."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        claim = Claim(self.given.round, sorted(self.owned))
        return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), msgspec.msgpack.encode(claim))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        try:
            self.given = _givens.decode(assignment.user_data)
        except msgspec.MsgspecError:
            self.given = Assigned()

    def assign(self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]) -> dict[str, Any]:
        """Called on the leader. ``cluster``: aiokafka's metadata, which knows the partitions of each topic."""
        claims = {member: _claim(metadata.user_data) for member, metadata in members.items()}
        followers: dict[str, list[str]] = {}
        for member in sorted(members):
            for topic in members[member].subscription:
                followers.setdefault(topic, []).append(member)
        partitions = {topic: cluster.partitions_for_topic(topic) or set() for topic in followers}
        shares = share(claims, set().union(*partitions.values()))
        by_member: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in members}
        for topic, following in sorted(followers.items()):
            for member in following:
                numbers = [n for n in shares[member] if n in partitions[topic]]
                # members of several versions: a partition goes to a member that follows its topic, if its owner does not
                numbers += [
                    n
                    for other in sorted(set(members) - set(following))
                    for n in shares[other]
                    if n in partitions[topic] and following[n % len(following)] == member
                ]
                by_member[member].append((topic, sorted(numbers)))
        next_round = max(claim.round for claim in claims.values()) + 1
        return {
            member: ConsumerProtocolMemberAssignment(
                VERSION, by_member[member], msgspec.msgpack.encode(Assigned(next_round, member, len(members)))
            )
            for member in members
        }


def _claim(data: bytes) -> Claim:
    try:
        return _claims.decode(data)
    except msgspec.MsgspecError:
        return Claim()
