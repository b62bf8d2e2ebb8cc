"""Guards: each accepted reflector as likely as any other, kept for months, replaced for no reason a stranger can bring
about in a day."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.agent.guards import (
    DAY,
    GUARDS,
    LONGEST_DAYS,
    MISSED_DAYS,
    SHORTEST_DAYS,
    Guard,
    Guards,
    keep_guards,
    kept_guards,
)
from relay.agent.kept import PlainFiles
from relay.core import ConfigurationError, SeededEntropy

WALL = 1_800_000_000 // DAY * DAY + 40_000.0


def identities(count: int) -> list[bytes]:
    return [bytes([number]) * 32 for number in range(1, count + 1)]


def drawn(accepted: Sequence[bytes], seed: object, wall: float = WALL) -> Guards:
    guards = Guards((), SeededEntropy(str(seed)))
    assert guards.choose(accepted, wall) is bool(accepted)
    return guards


# -- the draw ----------------------------------------------------------------------------------------------------

DRAWS = 6000
ACCEPTED = identities(6)
SUBSETS = [frozenset(subset) for subset in itertools.combinations(ACCEPTED, GUARDS)]
CHI_SQUARE_LIMIT = 43.8
"""Above this with 19 degrees of freedom once in 1,000 (NIST/SEMATECH e-Handbook, section 1.3.6.7.4)."""


def unevenness(draw: Callable[[SeededEntropy], frozenset[bytes]]) -> float:
    """Pearson's chi-square of `DRAWS` draws against all 20 subsets of three being equally likely."""
    entropy = SeededEntropy("uniform draw")
    seen = Counter(draw(entropy) for _ in range(DRAWS))
    assert sum(seen.values()) == DRAWS
    expected = DRAWS / len(SUBSETS)
    return math.fsum((seen[subset] - expected) ** 2 / expected for subset in SUBSETS)


def our_draw(entropy: SeededEntropy) -> frozenset[bytes]:
    guards = Guards((), entropy)
    guards.choose(ACCEPTED, WALL)
    return frozenset(guards.identities)


OCCUPANCY = dict(zip(ACCEPTED, (0, 1, 1, 2, 2, 3), strict=True))


def draw_that_believes_claims(entropy: SeededEntropy) -> frozenset[bytes]:
    """The leaky control: one that mildly prefers whoever says that it is empty."""
    left = list(ACCEPTED)
    chosen: list[bytes] = []
    while len(chosen) < GUARDS:
        tickets = [identity for identity in left for _ in range(8 - OCCUPANCY[identity])]
        chosen.append(tickets[entropy.below(len(tickets))])
        left.remove(chosen[-1])
    return frozenset(chosen)


def test_every_three_of_the_accepted_are_equally_likely() -> None:
    assert unevenness(our_draw) < CHI_SQUARE_LIMIT


def test_a_draw_that_prefers_low_occupancy_is_caught_by_the_same_test() -> None:
    assert unevenness(draw_that_believes_claims) > 2 * CHI_SQUARE_LIMIT


class _Scripted(SeededEntropy):
    """Entropy that takes the next of all possible choices, so that every path is walked once."""

    def __init__(self, choices: Sequence[int]) -> None:
        super().__init__("scripted")
        self._choices = list(choices)
        self.bounds: list[int] = []

    def below(self, bound: int) -> int:
        self.bounds.append(bound)
        return self._choices.pop(0) if bound <= len(ACCEPTED) else 0


def test_the_paths_of_the_draw_are_counted_exactly() -> None:
    """Over all equally likely choices (6, 5, 4) each of the 120 ordered threes comes exactly once."""
    ordered = Counter[tuple[bytes, ...]]()
    for choices in itertools.product(range(6), range(5), range(4)):
        entropy = _Scripted(choices)
        guards = Guards((), entropy)
        guards.choose(ACCEPTED, WALL)
        assert [bound for bound in entropy.bounds if bound <= 6] == [6, 5, 4]
        ordered[guards.identities] += 1
    assert len(ordered) == 120
    assert set(ordered.values()) == {1}


def test_the_order_in_which_lists_name_reflectors_changes_nothing() -> None:
    assert drawn(ACCEPTED, 1).kept == drawn(list(reversed(ACCEPTED)), 1).kept


@pytest.mark.parametrize(("accepted", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (40, 3)])
def test_three_or_as_many_as_there_are(accepted: int, expected: int) -> None:
    guards = drawn(identities(accepted), 1)
    assert len(set(guards.identities)) == len(guards.kept) == expected


def test_each_is_kept_for_three_to_five_months() -> None:
    days = [(guard.until - guard.since) // DAY for seed in range(300) for guard in drawn(ACCEPTED, seed).kept]
    assert SHORTEST_DAYS <= min(days) <= SHORTEST_DAYS + 3
    assert LONGEST_DAYS - 3 <= max(days) <= LONGEST_DAYS
    assert len(set(days)) > 50


# -- what changes them, and what does not ------------------------------------------------------------------------


def only_changed(before: Guards, after: Sequence[bytes]) -> set[bytes]:
    return set(before.identities) ^ set(after)


def test_nothing_changes_them_before_their_time() -> None:
    guards = drawn(ACCEPTED, 2)
    first = guards.kept
    for day in range(min(guard.until for guard in first) // DAY - int(WALL) // DAY):
        assert not guards.choose(ACCEPTED, WALL + day * DAY)
    assert guards.kept == first


def test_more_accepted_reflectors_change_nothing() -> None:
    """Whoever adds a hundred reflectors to a list gains no guard before one's time is over."""
    guards = drawn(ACCEPTED, 3)
    assert not guards.choose(identities(200), WALL + 60 * DAY)


def test_one_whose_time_is_over_goes_alone() -> None:
    guards = drawn(ACCEPTED, 4)
    first = sorted(guards.kept, key=lambda guard: guard.until)
    assert first[0].until < first[1].until
    assert guards.choose(ACCEPTED, first[0].until)
    assert set(first[1:]) < set(guards.kept)
    assert len(guards.kept) == GUARDS


def test_one_that_no_list_names_any_more_is_dropped_at_once() -> None:
    guards = drawn(ACCEPTED, 5)
    gone, *rest = guards.identities
    assert guards.choose([identity for identity in ACCEPTED if identity != gone], WALL + 1)
    assert gone not in guards.identities
    assert set(rest) < set(guards.identities)


def test_one_that_is_only_pending_stays_and_is_never_drawn() -> None:
    guards = drawn(ACCEPTED, 6)
    kept = guards.kept
    assert not guards.choose([], WALL + 5 * DAY, pending=ACCEPTED)
    assert guards.kept == kept
    assert not Guards((), SeededEntropy(1)).choose([], WALL, pending=ACCEPTED)


def miss(guards: Guards, identity: bytes, days: int, start: float = WALL) -> None:
    for day in range(1, days + 1):
        for hour in range(3):
            guards.missed(identity, start + day * DAY + hour * 3600)


def test_an_outage_of_less_than_fourteen_days_changes_nothing() -> None:
    guards = drawn(ACCEPTED, 7)
    miss(guards, guards.identities[0], MISSED_DAYS - 1)
    before = guards.identities
    guards.choose(ACCEPTED, WALL + MISSED_DAYS * DAY)
    assert guards.identities == before


def test_fourteen_days_out_of_reach_are_enough_and_the_others_stay() -> None:
    for seed in range(20):
        guards = drawn(ACCEPTED, seed)
        gone, *rest = guards.identities
        miss(guards, gone, MISSED_DAYS)
        assert guards.choose(ACCEPTED, WALL + (MISSED_DAYS + 1) * DAY)
        assert gone not in guards.identities, "there are others"
        assert set(rest) < set(guards.identities)


def test_where_there_is_no_other_it_stays_a_guard() -> None:
    guards = drawn(identities(3), 8)
    gone = guards.identities[0]
    miss(guards, gone, MISSED_DAYS)
    guards.choose(identities(3), WALL + 20 * DAY)
    assert set(guards.identities) == set(identities(3))
    assert all(guard.missed == 0 for guard in guards.kept)


def test_one_answer_makes_good_for_all_days_before() -> None:
    guards = drawn(ACCEPTED, 9)
    identity = guards.identities[0]
    miss(guards, identity, MISSED_DAYS - 1)
    assert guards.reached(identity, WALL + 13.5 * DAY)
    miss(guards, identity, MISSED_DAYS - 1, WALL + 14 * DAY)
    guards.choose(ACCEPTED, WALL + 28 * DAY)
    assert identity in guards.identities


def test_days_on_which_the_agent_did_not_run_do_not_count() -> None:
    guards = drawn(ACCEPTED, 10)
    before = guards.identities
    for identity in before:
        guards.missed(identity, WALL + DAY)
        guards.missed(identity, WALL + 60 * DAY)
    guards.choose(ACCEPTED, WALL + 60 * DAY)
    assert guards.identities == before


def test_what_is_kept_changes_at_most_once_a_day() -> None:
    guards = drawn(ACCEPTED, 11)
    identity = guards.identities[0]
    morning = WALL // DAY * DAY
    said = [guards.reached(identity, morning + DAY + hour * 3600) for hour in range(24)]
    assert said == [True] + [False] * 23
    said = [guards.missed(identity, morning + 2 * DAY + hour * 3600) for hour in range(24)]
    assert said == [True] + [False] * 23
    assert not guards.missed(bytes(32), WALL), "nobody's guard"


def test_a_day_with_an_answer_is_no_day_out_of_reach() -> None:
    guards = drawn(ACCEPTED, 12)
    identity = guards.identities[0]
    guards.reached(identity, WALL + DAY)
    assert not guards.missed(identity, WALL + DAY + 60)


def test_a_clock_that_was_years_ahead_keeps_no_guard_for_years() -> None:
    guards = drawn(ACCEPTED, 13, wall=WALL + 3000 * DAY)
    before = guards.identities
    guards.choose(ACCEPTED, WALL)
    assert guards.identities == before
    for guard in guards.kept:
        assert WALL - DAY < guard.since <= WALL
        assert SHORTEST_DAYS <= (guard.until - guard.since) // DAY <= LONGEST_DAYS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["choose", "reached", "missed"]),
            st.integers(0, 39),
            st.integers(0, 20),
            st.sets(st.integers(1, 8), max_size=8),
        ),
        max_size=40,
    )
)
def test_whatever_happens_there_are_at_most_three_all_accepted_none_twice(
    steps: list[tuple[str, int, int, set[int]]],
) -> None:
    entropy = SeededEntropy("steps")
    guards, wall = Guards((), entropy), WALL
    for what, which, days, accepted in steps:
        wall += days * DAY
        if what == "choose":
            named = [bytes([number]) * 32 for number in accepted]
            before = guards.kept
            changed = guards.choose(named, wall)
            assert changed is (guards.kept != before)
            assert set(guards.identities) <= set(named)
            assert len(guards.kept) == min(GUARDS, len(named))
        elif guards.kept:
            getattr(guards, what)(guards.identities[which % len(guards.kept)], wall)
        assert len(set(guards.identities)) == len(guards.kept) <= GUARDS
        assert all(isinstance(guard, Guard) for guard in guards.kept)


# -- kept --------------------------------------------------------------------------------------------------------

GUARD = Guard(bytes(range(32)), 86400 * 20000, 86400 * 20120, 86400 * 20000)


def test_guards_stay(tmp_path: Path) -> None:
    state = PlainFiles(tmp_path)
    assert kept_guards(state) == ()
    kept = (GUARD, msgspec.structs.replace(GUARD, identity=bytes(32), missed=3, missed_on=86400 * 20100))
    keep_guards(state, kept)
    assert kept_guards(PlainFiles(tmp_path)) == kept


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff", b'{"guards": [{"identity": "AA=="}]}', b'{"guards": 3}', b'{"guard\xff": 3}'],
)
def test_damaged_guards_are_not_passed_over_for_new_ones(tmp_path: Path, content: bytes) -> None:
    state = PlainFiles(tmp_path)
    state.write("guards.json", content)
    with pytest.raises(ConfigurationError, match=r"guards.json in the state directory is damaged"):
        kept_guards(state)
    assert state.read("guards.json") == content
