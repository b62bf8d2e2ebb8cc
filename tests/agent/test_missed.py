"""Missed calls as minutes: bounded, expiring, each told once."""

from hypothesis import given
from hypothesis import strategies as st

from relay.agent import missed
from relay.core import SeededEntropy

NOW = 1_800_000_000.0
MINUTE = missed.minute_of(NOW)


def test_a_try_is_told_until_it_is_old() -> None:
    tries = missed.with_try((), NOW)
    assert tries == (MINUTE,)
    assert missed.worth_telling(tries, NOW + missed.TOLD_FOR) == tries
    assert missed.worth_telling(tries, NOW + missed.TOLD_FOR + 60) == ()
    assert missed.with_try(tries, NOW + 1) == tries, "twice within a minute is once"


def test_only_so_many_are_told_the_latest_ones() -> None:
    tries: tuple[int, ...] = ()
    for number in range(20):
        tries = missed.with_try(tries, NOW + 60 * number)
    assert tries == tuple(range(MINUTE + 12, MINUTE + 20))


def test_what_is_told_again_or_was_noticed_here_is_no_news() -> None:
    known = missed.remembered((), (MINUTE - 50,), NOW)
    assert missed.news((MINUTE - 51, MINUTE - 20, MINUTE - 19), known, NOW) == (MINUTE - 20,)
    known = missed.remembered(known, (MINUTE - 20,), NOW)
    assert missed.news((MINUTE - 51, MINUTE - 20, MINUTE - 19), known, NOW) == ()


def test_what_is_too_old_or_lies_ahead_is_no_news() -> None:
    week = int(missed.KEPT_FOR) // 60
    assert missed.news((MINUTE - week - 1, MINUTE + 31), (), NOW) == ()
    assert missed.news((MINUTE - week, MINUTE + 30), (), NOW) == (MINUTE - week, MINUTE + 30)


@given(st.lists(st.integers(-(2**60), 2**60)), st.lists(st.integers(MINUTE - 20000, MINUTE + 100)))
def test_whatever_a_contact_tells_is_bounded(told: list[int], known: list[int]) -> None:
    news = missed.news(told, known, NOW)
    assert len(news) <= missed.MOST_TRIES
    kept = missed.remembered(known, news, NOW)
    assert len(kept) <= missed.MOST_KEPT
    for _ in range(len(told)):
        news = missed.news(told, kept, NOW)
        kept = missed.remembered(kept, news, NOW)
    assert missed.news(told, kept, NOW) == (), "the same record tells each call once"


def test_a_record_that_tells_waits_some_minutes() -> None:
    waits = [missed.soon(SeededEntropy(number)) for number in range(50)]
    assert all(missed.SOON[0] <= wait <= missed.SOON[1] for wait in waits)
    assert max(waits) - min(waits) > 200.0
