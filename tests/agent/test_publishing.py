"""One record at one contact point: what is sealed anew, and how a refusal is met."""

from pathlib import Path

import pytest

from relay.agent.kept import PlainFiles
from relay.agent.prekeys import PrekeyRing
from relay.agent.publications import Content, Publication, Published
from relay.agent.publishing import SAME_FOR, TRIES, Publisher, Sealer
from relay.core import SystemEntropy, TransportUnavailable
from relay.forward_publish import EntryKind, RecordStatus, RecordUse, coarse_revision
from relay.identity import Identity
from tests.agent.virtual_time import WALL, LoopClock, in_virtual_time

A = "a" * 56
USED = Publication("x", EntryKind.RECORD, RecordUse.INVITATION, bytes(32), None, status=RecordStatus.USED)
SAID = Content(RecordStatus.USED, (), ())


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    state = PlainFiles(tmp_path)
    entropy = SystemEntropy()
    return Sealer(Identity.generate(entropy), PrekeyRing(state, entropy), entropy)


def test_further_contact_points_get_the_same_record_for_a_while(sealer: Sealer) -> None:
    first = sealer.seal(USED, SAID, WALL, 0)
    assert first.revision == coarse_revision(WALL)
    assert sealer.seal(USED, SAID, WALL + SAME_FOR - 1.0, 0) is first
    later = sealer.seal(USED, SAID, WALL + SAME_FOR, 0)
    assert later.revision > first.revision


def test_every_change_has_a_higher_revision_within_the_same_hour(sealer: Sealer) -> None:
    first = sealer.seal(USED, SAID, WALL, 0)
    second = sealer.seal(USED, Content(RecordStatus.WITHDRAWN, (), ()), WALL + 1.0, 0)
    third = sealer.seal(USED, SAID, WALL + 2.0, 0)
    assert first.revision < second.revision < third.revision
    assert sealer.seal(USED, SAID, WALL + 3.0, 5).revision >= coarse_revision(WALL) + 5


class Point:
    def __init__(self, holds: int = -1) -> None:
        self.holds = holds
        self.offered: list[int] = []

    async def put(self, onion: str, entry: Published) -> bool:
        self.offered.append(entry.revision)
        if entry.revision <= self.holds:
            return False
        self.holds = entry.revision
        return True


def publisher(sealer: Sealer, point: Point) -> Publisher:
    return Publisher(
        A, (A,), lambda: USED, sealer, point, lambda onion, token: True, LoopClock(), SystemEntropy()
    )


def test_a_contact_point_that_holds_something_newer_is_offered_a_higher_revision(sealer: Sealer) -> None:
    @in_virtual_time
    async def scenario() -> None:
        now = coarse_revision(LoopClock().wall())
        point = Point(now + 2)
        await publisher(sealer, point)._put(USED, SAID, LoopClock().wall())
        assert point.offered[0] == now
        assert point.holds > now + 2
        assert len(point.offered) <= TRIES

    scenario()


def test_one_that_never_takes_it_is_a_failure_and_steps_grow(sealer: Sealer) -> None:
    @in_virtual_time
    async def scenario() -> None:
        point = Point(coarse_revision(LoopClock().wall()) + 100)
        made = publisher(sealer, point)
        for _ in range(2):
            with pytest.raises(TransportUnavailable):
                await made._put(USED, SAID, LoopClock().wall())
        await made._put(USED, SAID, LoopClock().wall())
        assert point.offered == sorted(set(point.offered))

    scenario()
