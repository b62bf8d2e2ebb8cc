"""Publication: at once for whoever waits, spread for everybody else, and never all together."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.forward_publish import PublicationTimes
from relay.forward_publish.publication import AFTER_MIDNIGHT, AFTER_START, EVERY, FIRST_EVER

ENTROPY = SeededEntropy("publication")
CONTACTS = 400


def all_of_one_owner(*, known: bool) -> list[PublicationTimes]:
    return [PublicationTimes(ENTROPY, 0.0, 3, known=known) for _ in range(CONTACTS)]


def moments(contacts: list[PublicationTimes], now: float) -> list[float]:
    return sorted(now + times.wait(now) for times in contacts)


def is_spread(found: list[float], begin: float, length: float) -> bool:
    """Every fifth of the time has about a fifth of them."""
    fifths = [int(5 * (moment - begin) / length) for moment in found]
    return all(CONTACTS / 10 < fifths.count(fifth) < CONTACTS / 3 for fifth in range(5))


def test_a_new_contact_waits_no_time_that_anybody_notices() -> None:
    assert moments(all_of_one_owner(known=False), 0.0)[-1] < FIRST_EVER <= 2.0


def test_after_a_start_known_contacts_records_come_one_by_one() -> None:
    assert is_spread(moments(all_of_one_owner(known=True), 0.0), 0.0, AFTER_START)


def test_after_a_publication_the_next_one_has_its_own_time() -> None:
    contacts = all_of_one_owner(known=True)
    for times in contacts:
        times.done(1000.0)
        assert times.published
    assert is_spread(moments(contacts, 1000.0), 1000.0 + EVERY / 2, EVERY / 2)


def test_midnight_does_not_bring_them_all() -> None:
    contacts = all_of_one_owner(known=True)
    for times in contacts:
        times.done(0.0)
        times.due(1.0, 4)
    found = moments(contacts, 1.0)
    assert is_spread(found, 1.0, AFTER_MIDNIGHT)
    for times in contacts:
        times.due(2.0, 4)
    assert moments(contacts, 1.0) == found, "a period begins once"


def test_what_hindered_all_does_not_let_all_go_at_its_end() -> None:
    contacts = all_of_one_owner(known=False)
    for times in contacts:
        times.done(0.0)
        assert times.due(EVERY, 3)
        times.postpone(EVERY)
    assert is_spread(moments(contacts, EVERY), EVERY, AFTER_START)


@given(st.booleans(), st.lists(st.tuples(st.floats(0, 5000), st.integers(0, 3), st.booleans())))
def test_a_record_is_never_late(known: bool, steps: list[tuple[float, int, bool]]) -> None:
    now, period = 0.0, 0
    times = PublicationTimes(ENTROPY, now, period, known=known)
    for seconds, periods, publish in steps:
        now, period = now + seconds, period + periods
        if times.due(now, period):
            assert times.wait(now) == 0.0
            if publish:
                times.done(now)
            else:
                times.postpone(now)
        assert times.wait(now) <= EVERY
