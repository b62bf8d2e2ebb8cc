"""Held-back messages are seen as such, whatever the sender's clock says."""

import pytest

from relay.agent.freshness import MOST_CONTACTS, Freshness


@pytest.mark.parametrize("skew", [-1800.0, 0.0, 1700.0])
def test_lateness_does_not_depend_on_the_senders_clock(skew: float) -> None:
    fresh = Freshness()
    now = 1_000_000.0
    assert fresh.note(b"alice", now + skew, now + 1.0) == 0.0
    assert fresh.note(b"alice", now + 100 + skew, now + 101.5) == pytest.approx(0.5)
    assert fresh.note(b"alice", now + 200 + skew, now + 1700.0) == pytest.approx(1499.0)


def test_a_prompter_message_sets_the_measure_anew() -> None:
    fresh = Freshness()
    assert fresh.note(b"alice", 0.0, 500.0) == 0.0
    assert fresh.note(b"alice", 1000.0, 1001.0) == 0.0
    assert fresh.note(b"alice", 1100.0, 1300.0) == pytest.approx(199.0)


def test_contacts_are_measured_apart_and_their_number_is_bounded() -> None:
    fresh = Freshness()
    for number in range(MOST_CONTACTS + 50):
        fresh.note(number.to_bytes(4), 0.0, 10.0)
    assert fresh.note((MOST_CONTACTS + 10).to_bytes(4), 0.0, 99.0) == 0.0
    assert fresh.note((5).to_bytes(4), 0.0, 99.0) == pytest.approx(89.0)
