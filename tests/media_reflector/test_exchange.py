"""The exchange against a plain model, and its limits."""

from hypothesis import given
from hypothesis import strategies as st

from relay.media_reflector.exchange import WAITING_LIMIT, Exchange, Outcome

CODES = [b"a", b"b", b"c"]
MOVES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([*CODES, None])), max_size=40)


@given(MOVES)
def test_codes_pair_lines_two_by_two(moves: list[tuple[int, bytes | None]]) -> None:
    exchange: Exchange[int] = Exchange()
    under: dict[int, bytes] = {}
    crossed: dict[bytes, set[int]] = {}
    for line, code in moves:
        if code is None:
            exchange.leave(line)
            left = under.pop(line, None)
            for other in crossed.pop(left, set()) if left else set():
                under.pop(other, None)
            continue
        outcome, other_line = exchange.join(line, code, 0.0)
        if code in crossed and line not in crossed[code]:
            assert outcome is Outcome.REFUSED
            continue
        if under.get(line) != code:
            left = under.pop(line, None)
            for other in crossed.pop(left, set()) if left else set():
                under.pop(other, None)
            under[line] = code
        members = {member for member, joined in under.items() if joined == code}
        if len(members) == 2:
            crossed[code] = members
            assert (outcome, {other_line}) == (Outcome.CROSSED, members - {line})
        else:
            assert (outcome, other_line) == (Outcome.WAITING, None)
        assert len(exchange) == len(under)
        for member, joined in under.items():
            others = crossed.get(joined, set()) - {member}
            assert exchange.other_of(member) == (others.pop() if others else None)
            assert exchange.code_of(member) == joined
        assert all(exchange.knows(known) == (known in under.values()) for known in CODES)
        assert exchange.crossings == len(crossed)


def test_waiting_ends() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.join("alice", b"code", 0.0)
    exchange.join("alice", b"code", WAITING_LIMIT - 1)
    exchange.expire(WAITING_LIMIT)
    assert len(exchange) == 0
    assert exchange.join("bob", b"code", WAITING_LIMIT) == (Outcome.WAITING, None)


def test_a_crossing_does_not_end_by_waiting() -> None:
    exchange: Exchange[str] = Exchange()
    exchange.join("alice", b"code", 0.0)
    exchange.join("bob", b"code", 1.0)
    exchange.expire(1e9)
    assert exchange.join("alice", b"code", 1e9) == (Outcome.CROSSED, "bob")
