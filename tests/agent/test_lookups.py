"""When contacts are looked up and where, and where a search ends."""

from collections.abc import Sequence

import pytest

from relay.agent.contact_file import Contact, Place, Whereabouts
from relay.agent.lookups import (
    AFTER_START,
    EVERY,
    LAST_RESORT,
    NEW_PERIOD,
    RETRY_LAST,
    Lookups,
    LookupTimes,
    where_to_ask,
)
from relay.core import ManualClock, SeededEntropy, TransportUnavailable
from relay.forward_publish import PERIOD, StoredRecord
from tests.forward_publish.shelves import NOW, OWNER, PERIOD_NOW, SECRET, stored_record

DAY = 86400.0
TODAY = NOW
A, B, C = "a" * 56, "b" * 56, "c" * 56


def contact(places: tuple[str, ...], revision: int = 5, home: tuple[str, ...] = (A,)) -> Contact:
    rung = tuple(Place(onion, "t" * 52) for onion in places)
    return Contact(
        "1", "bob", bytes(32), bytes(32), home, whereabouts=Whereabouts(rung, b"", PERIOD_NOW, revision, 2, 3)
    )


def test_somebody_never_found_is_looked_up_at_once_and_then_ever_more_slowly() -> None:
    times = LookupTimes(SeededEntropy(1), 100.0, None)
    assert times.wait(100.0) == 0.0
    now, waits = 100.0, []
    for _ in range(40):
        times.nothing(now)
        waits.append(times.wait(now))
        now += waits[-1]
    assert waits[0] <= 1.0
    assert sum(wait < 60.0 for wait in waits) < 14
    assert RETRY_LAST / 2 <= waits[-1] <= RETRY_LAST


def test_known_ones_are_looked_up_some_time_after_the_start() -> None:
    waits = [LookupTimes(SeededEntropy(number), 0.0, DAY).wait(0.0) for number in range(50)]
    assert all(0.0 <= wait <= AFTER_START for wait in waits)
    assert max(waits) - min(waits) > AFTER_START / 2


@pytest.mark.parametrize("ends_in", [0.0, 3600.0, 10 * 3600.0, DAY])
def test_what_was_found_is_looked_up_again_before_its_tokens_go(ends_in: float) -> None:
    for number in range(50):
        times = LookupTimes(SeededEntropy(number), 0.0, None)
        times.found(0.0, ends_in)
        assert times.wait(0.0) <= min(EVERY[1], ends_in + NEW_PERIOD[1])
        assert times.wait(0.0) >= min(EVERY[0], ends_in + NEW_PERIOD[0])


def test_while_it_can_be_rung_it_is_not_looked_for_where_it_will_be() -> None:
    for number in range(20):
        entropy = SeededEntropy(number)
        assert where_to_ask(contact((A, B), home=(B,)), (C, A), TODAY, entropy) == [C]
        assert where_to_ask(contact((A, B, C), home=(B,)), (C, A), TODAY, entropy)[-1] != A, "only if A fails"
        assert where_to_ask(contact((A,)), (A,), TODAY, entropy) == [A], "nobody else is known"


def test_when_its_tokens_begin_to_go_it_is_looked_for_wherever_it_was_rung() -> None:
    late = (PERIOD_NOW + 1) * PERIOD + LAST_RESORT
    for number in range(20):
        entropy = SeededEntropy(number)
        assert where_to_ask(contact((A, B), home=(B,)), (C, A), late - 1.0, entropy) == [C]
        assert where_to_ask(contact((A, B), home=(B,)), (C, A), late, entropy) == [C, B, A]
        assert where_to_ask(contact((A,)), (A,), late, entropy) == [A]


def test_the_first_lookup_goes_to_where_the_record_was_published() -> None:
    unknown = Contact("1", "bob", bytes(32), bytes(32), (B, A))
    assert where_to_ask(unknown, (C,), TODAY, SeededEntropy(1)) == [B, A]
    assert where_to_ask(contact((B,), revision=0, home=(B,)), (C,), TODAY, SeededEntropy(1)) == [B]


# -- the search itself -------------------------------------------------------------------------------------------


class Points:
    """What lies at contact points; None is one that does not answer."""

    def __init__(self, **held: StoredRecord | None) -> None:
        self._held = held
        self.asked: list[str] = []

    async def fetch(self, onion: str, keys: Sequence[bytes]) -> list[StoredRecord]:
        self.asked.append(onion)
        found = self._held[onion]
        if found is None:
            raise TransportUnavailable("the contact point is out of reach")
        return [found] if found.key in keys else []


def lookups(points: Points) -> Lookups:
    clock = ManualClock()
    clock.advance(NOW - clock.wall())
    return Lookups(points, clock)


async def found(points: Points, *order: str, above: int) -> int | None:
    """The revision of what was found."""
    record = await lookups(points).find(OWNER.public_key, [SECRET], order, above=above)
    return None if record is None else record.record.revision


OLD, KNOWN, NEW = stored_record(), stored_record(step=1), stored_record(step=2)
YESTERDAY = stored_record(now=NOW - PERIOD)


async def test_the_first_that_has_what_is_known_ends_the_search() -> None:
    points = Points(one=KNOWN, two=KNOWN, ringing=NEW)
    assert await found(points, "one", "two", "ringing", above=KNOWN.revision) is None
    assert points.asked == ["one"], "nobody else learns that somebody looks"


async def test_the_first_that_has_something_newer_ends_it_too() -> None:
    points = Points(one=NEW, two=NEW)
    assert await found(points, "one", "two", above=KNOWN.revision) == NEW.revision
    assert points.asked == ["one"]


async def test_who_is_behind_or_has_nothing_or_does_not_answer_is_passed_over() -> None:
    points = Points(one=OLD, two=None, three=stored_record(bytes(32)), four=NEW)
    assert await found(points, "one", "two", "three", "four", above=KNOWN.revision) == NEW.revision
    assert points.asked == ["one", "two", "three", "four"]


async def test_that_nothing_is_newer_than_yesterday_ends_nothing() -> None:
    points = Points(one=YESTERDAY, two=KNOWN)
    assert await found(points, "one", "two", above=YESTERDAY.revision) == KNOWN.revision
    only = Points(one=YESTERDAY, two=YESTERDAY)
    assert await found(only, "one", "two", above=YESTERDAY.revision) is None
    assert only.asked == ["one", "two"]


async def test_where_nobody_answers_that_is_said() -> None:
    with pytest.raises(TransportUnavailable, match="no contact point answered"):
        await found(Points(one=None, two=None), "one", "two", above=-1)
