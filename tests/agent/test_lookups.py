"""When contacts are looked up and where: pure decisions."""

import pytest

from relay.agent.contact_file import Contact, Place, Whereabouts
from relay.agent.lookups import AFTER_START, EVERY, NEW_PERIOD, RETRY_LAST, LookupTimes, where_to_ask
from relay.core import SeededEntropy

DAY = 86400.0
A, B, C = "a" * 56, "b" * 56, "c" * 56


def contact(places: tuple[str, ...], revision: int = 5, home: tuple[str, ...] = (A,)) -> Contact:
    rung = tuple(Place(onion, "t" * 52) for onion in places)
    return Contact(
        "1", "bob", bytes(32), bytes(32), home, whereabouts=Whereabouts(rung, b"", 1, revision, 2, 3)
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


def test_the_point_where_somebody_is_rung_is_asked_last() -> None:
    for number in range(20):
        order = where_to_ask(contact((A, B), home=(B,)), (C, A), SeededEntropy(number))
        assert order[0] == C
        assert sorted(order) == [A, B, C]


def test_the_first_lookup_goes_to_where_the_record_was_published() -> None:
    unknown = Contact("1", "bob", bytes(32), bytes(32), (B, A))
    assert where_to_ask(unknown, (C,), SeededEntropy(1)) == [B, A]
    assert where_to_ask(contact((B,), revision=0, home=(B,)), (C,), SeededEntropy(1)) == [B]
