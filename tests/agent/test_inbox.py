"""The queue in front of opening: small, fair, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from relay.agent.inbox import MOST, MOST_FOR_A_TOKEN, Inbox


def test_tokens_take_turns_and_each_keeps_its_order() -> None:
    inbox = Inbox()
    for body in (b"1", b"2", b"3"):
        inbox.put("loud", body)
    inbox.put("quiet", b"ring")
    taken = [inbox.take() for _ in range(5)]
    assert taken == [("loud", b"1"), ("quiet", b"ring"), ("loud", b"2"), ("loud", b"3"), None]


def test_a_flood_for_one_token_leaves_room_for_the_others() -> None:
    inbox = Inbox()
    for number in range(1000):
        inbox.put("loud", b"%d" % number)
    inbox.put("quiet", b"ring")
    assert len(inbox) == MOST_FOR_A_TOKEN + 1
    assert inbox.dropped == 1000 - MOST_FOR_A_TOKEN


@given(st.lists(st.integers(0, 200), max_size=400))
def test_it_never_holds_more_than_its_bound_and_loses_nothing_it_took(tokens: list[int]) -> None:
    inbox = Inbox()
    for token in tokens:
        inbox.put(str(token), b"x")
        assert len(inbox) <= MOST
    held = len(inbox)
    assert sum(inbox.take() is not None for _ in range(held + 1)) == held
    assert held + inbox.dropped == len(tokens)
