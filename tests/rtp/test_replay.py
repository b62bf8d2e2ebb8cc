"""The replay window against a plain set."""

from hypothesis import given
from hypothesis import strategies as st

from relay.rtp.replay import WINDOW_SIZE, ReplayWindow


@given(st.lists(st.integers(0, 600), max_size=300))
def test_as_a_set_of_everything_seen_would_decide(indices: list[int]) -> None:
    window = ReplayWindow()
    seen: set[int] = set()
    for index in indices:
        expected = index not in seen and index > max(seen, default=-1) - WINDOW_SIZE
        assert window.fresh(index) == expected
        assert window.accept(index) == expected
        seen.add(index) if expected else None
        assert window.highest == max(seen)


def test_it_is_wide_enough_for_rfc_3711() -> None:
    assert WINDOW_SIZE >= 64
