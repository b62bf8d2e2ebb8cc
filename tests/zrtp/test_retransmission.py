"""The timers of section 6."""

import pytest

from relay.zrtp.retransmission import Retransmission, Ripe
from relay.zrtp.settings import T1, T2, Schedule


def times_of(schedule: Schedule, at_least: float = 0.0) -> tuple[list[float], float]:
    """When it sends again, and when it gives up."""
    again = Retransmission()
    again.start(b"message", schedule, 100.0, at_least=at_least)
    sent = []
    while (at := again.deadline) is not None:
        match again.due(at):
            case Ripe.AGAIN:
                assert again.message == b"message"
                sent.append(round(at - 100.0, 3))
            case Ripe.GIVE_UP:
                return sent, round(at - 100.0, 3)
    raise AssertionError("it never gave up")


def test_hello_goes_out_twenty_times_more_within_three_and_three_quarter_seconds() -> None:
    sent, _ = times_of(T1)
    assert len(sent) == 20
    assert sent[:4] == [0.05, 0.15, 0.35, 0.55]
    assert sent[-1] == 3.75


def test_the_others_ten_times_within_9_45_seconds() -> None:
    sent, gave_up = times_of(T2)
    assert sent == [0.15, 0.45, 1.05, 2.25, 3.45, 4.65, 5.85, 7.05, 8.25, 9.45]
    assert gave_up == 10.65


def test_a_known_peer_is_asked_for_longer() -> None:
    sent, _ = times_of(T1, at_least=12.0)
    assert 11.8 < sent[-1] <= 12.0


def test_a_late_caller_sends_once() -> None:
    again = Retransmission()
    again.start(b"message", T2, 0.0)
    assert again.due(5.0) is Ripe.AGAIN
    assert again.due(5.0) is Ripe.NOTHING
    assert again.deadline == pytest.approx(5.3)


def test_nothing_is_due_before_its_time_or_after_the_answer() -> None:
    again = Retransmission()
    assert again.due(1e9) is Ripe.NOTHING
    again.start(b"message", T2, 0.0)
    assert again.due(0.1) is Ripe.NOTHING
    again.stop()
    assert again.due(1e9) is Ripe.NOTHING
    assert again.message == b""
