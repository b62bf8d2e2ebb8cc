"""Where two lines meet: at a guard of both, over a trunk between two guards, or nowhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.agent.meeting import NOTHING_IN_COMMON, Meeting, choose_meeting
from relay.core import SeededEntropy

ENTROPY = SeededEntropy("meeting")


def test_a_guard_in_common_is_taken_before_any_trunk() -> None:
    guards = {"his": ["hers"], "both": ["hers"]}
    for _ in range(50):
        assert choose_meeting(["hers", "both"], guards, ENTROPY) == Meeting("both")


def test_of_several_in_common_each_is_as_likely() -> None:
    guards: dict[str, list[str]] = {name: [] for name in "abc"}
    seen = Counter(choose_meeting("cba", guards, ENTROPY) for _ in range(3000))
    assert set(seen) == {Meeting("a"), Meeting("b"), Meeting("c")}
    assert all(900 < count < 1100 for count in seen.values())


def test_without_one_a_trunk_leads_from_hers_to_his() -> None:
    guards = {"his": ["other", "hers"], "second": ["stranger"]}
    meeting = choose_meeting(["first", "hers"], guards, ENTROPY)
    assert meeting == Meeting("his", via="hers")
    assert meeting.callers == "hers"


def test_of_several_trunks_each_is_as_likely() -> None:
    guards = {"x": ["a", "b"], "y": ["a"]}
    seen = Counter(choose_meeting("abc", guards, ENTROPY) for _ in range(3000))
    assert set(seen) == {Meeting("x", "a"), Meeting("x", "b"), Meeting("y", "a")}
    assert all(900 < count < 1100 for count in seen.values())


@pytest.mark.parametrize(
    ("offered", "guards"),
    [([], {"his": ["hers"]}), (["hers"], {}), (["hers"], {"his": []}), (["hers"], {"his": ["other"]})],
)
def test_else_there_is_nowhere(offered: list[str], guards: dict[str, list[str]]) -> None:
    assert choose_meeting(offered, guards, ENTROPY) is None


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(NAMES, max_size=3, unique=True),
    st.dictionaries(NAMES, st.sets(NAMES, max_size=4), max_size=3),
)
def test_each_side_opens_its_line_at_a_guard_of_its_own_and_nowhere_else(
    offered: list[str], guards: dict[str, set[str]]
) -> None:
    meeting = choose_meeting(offered, guards, SeededEntropy(1))
    if meeting is None:
        assert not set(offered) & set(guards)
        assert not any(set(offered) & peers for peers in guards.values())
        return
    assert meeting.own in guards
    assert meeting.callers in offered
    assert not meeting.via or meeting.via in guards[meeting.own]


def test_what_a_person_is_told_says_what_a_call_would_reveal_and_what_to_do() -> None:
    said = NOTHING_IN_COMMON.format(contact="bob")
    assert "bob" in said
    assert "would learn your address" in said
    assert "Accept a list" in said
