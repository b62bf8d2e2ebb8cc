"""A line's epochs: both ends alike, one way only, the link format still SRTP's."""

import gc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.media_reflector.epochs import CHAIN_SIZE, Epoch, EpochChain
from relay.media_reflector.forwarding.face import UpKeys

CHAIN = bytes(range(32))


def _keys(epoch: Epoch) -> tuple[UpKeys, UpKeys]:
    return epoch.up, epoch.down


def _secrets(thing: Any) -> set[bytes]:
    """Every byte string that can be reached from `thing`."""
    found, waiting, seen = set(), [thing], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type):
            continue
        seen.add(id(item))
        if isinstance(item, bytes):
            found.add(item)
        waiting += gc.get_referents(item) if not isinstance(item, bytes | int | str) else []
    return found


def test_the_first_epoch_has_the_ssrcs_that_were_chosen() -> None:
    chain = EpochChain(CHAIN, (1, 2))
    assert (chain.current.up.ssrc, chain.current.down.ssrc) == (1, 2)
    assert {chain.following.up.ssrc, chain.following.down.ssrc}.isdisjoint({1, 2})


def test_sizes_are_those_of_the_link_srtp() -> None:
    for keys in _keys(EpochChain(CHAIN).current):
        assert (len(keys.key), len(keys.salt)) == (16, 12)
        assert 0 <= keys.ssrc < 1 << 32


def test_an_epoch_that_has_passed_cannot_be_derived_any_more() -> None:
    chain = EpochChain(CHAIN)
    first, following = _keys(chain.current), _keys(chain.following)
    kept = _secrets(chain)
    assert first[0].key in kept, "the search sees what is there"
    chain.advance()
    assert _keys(chain.current) == following
    kept = _secrets(chain)
    assert CHAIN not in kept
    assert first[0].key not in kept
    # Whatever is kept, taken as a chain or as an epoch's secret, does not lead back.
    for secret in kept:
        if len(secret) == CHAIN_SIZE:
            assert _keys(Epoch(secret)) != first
            assert _keys(EpochChain(secret).current) != first


def test_stirring_changes_what_follows_and_not_what_is() -> None:
    plain, stirred = EpochChain(CHAIN), EpochChain(CHAIN)
    before = _keys(stirred.following)
    stirred.stir(b"shared")
    assert _keys(stirred.current) == _keys(plain.current)
    assert set(_keys(stirred.following)).isdisjoint(before)
    plain.advance()
    stirred.advance()
    assert set(_keys(stirred.following)).isdisjoint(_keys(plain.following))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.binary(min_size=32, max_size=32), max_size=8))
def test_both_ends_stay_alike_and_no_key_comes_twice(steps: list[bytes | None]) -> None:
    one, other = EpochChain(CHAIN, (1, 2)), EpochChain(CHAIN, (1, 2))
    seen = [_keys(one.current)]
    for step in steps:
        if step is None:
            # One end looks at an epoch before it moves, the other does not.
            assert one.following.up
            one.advance()
            other.advance()
            seen.append(_keys(one.current))
        else:
            one.stir(step)
            other.stir(step)
    assert _keys(one.current) == _keys(other.current)
    assert _keys(one.following) == _keys(other.following)
    every = [keys.key for pair in seen for keys in pair]
    assert len(set(every)) == len(every)


def test_keys_are_made_once() -> None:
    epoch = EpochChain(CHAIN).current
    assert epoch.up is epoch.up
    assert epoch.down is epoch.down


def test_challenges_have_keys_and_an_ssrc_that_nothing_else_has() -> None:
    chain = EpochChain(CHAIN, (1, 2))
    challenge = chain.current.challenge()
    assert challenge == EpochChain(CHAIN, (1, 2)).current.challenge(), "both ends have the same"
    others = [*_keys(chain.current), *_keys(chain.following), chain.following.challenge()]
    assert challenge.ssrc not in {keys.ssrc for keys in others}
    assert challenge.key not in {keys.key for keys in others}
