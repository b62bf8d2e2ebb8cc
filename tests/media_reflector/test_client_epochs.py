"""Which keys an agent's line uses: always one epoch to send under, and ears for whatever may still or already come."""

import pytest

from relay.core import SeededEntropy
from relay.media_reflector.client_epochs import AgentEpochs, Era
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.forwarding.face import UpKeys
from relay.media_reflector.link import CellSender, cell_ssrc, opener
from relay.rtp.cell import BODY_SIZE, LinkType
from relay.rtp.srtp import SrtpDrop

SECRET = bytes(range(32))
BODY = bytes(BODY_SIZE)


def _agent() -> AgentEpochs:
    entropy = SeededEntropy("agent")
    return AgentEpochs(EpochChain(SECRET, (11, 12)), CellSender(11, entropy), entropy)


def _cell(keys: UpKeys, kind: LinkType = LinkType.CHAFF, skip: int = 0) -> bytes:
    sender = CellSender(keys.ssrc, SeededEntropy("reflector"), keys)
    for _ in range(skip):
        sender.seal(kind, BODY)
    return sender.seal(kind, BODY)


def _era(agent: AgentEpochs, cell: bytes) -> Era | None:
    opened = agent.open(cell)
    assert opened is None or isinstance(opened[1], bytes)
    return None if opened is None else opened[0]


def test_it_listens_to_the_current_and_the_following_epoch() -> None:
    agent, mirror = _agent(), EpochChain(SECRET, (11, 12))
    assert _era(agent, _cell(mirror.current.down)) is Era.CURRENT
    assert _era(agent, _cell(mirror.current.challenge())) is Era.CURRENT_CHALLENGE
    assert _era(agent, _cell(mirror.following.down)) is Era.FOLLOWING
    assert _era(agent, _cell(mirror.following.challenge())) is None, "not before it goes there"
    mirror.advance()
    assert _era(agent, _cell(mirror.following.down)) is None


def test_each_cell_is_opened_once_also_when_its_epoch_becomes_the_current_one() -> None:
    agent, mirror = _agent(), EpochChain(SECRET, (11, 12))
    cell = _cell(mirror.following.down)
    assert _era(agent, cell) is Era.FOLLOWING
    agent.go_ahead()
    agent.arrive()
    assert agent.open(cell) == (Era.CURRENT, SrtpDrop.REPLAYED)
    assert _era(agent, _cell(mirror.following.down, skip=1)) is Era.CURRENT


def test_it_sends_under_one_epoch_after_the_other() -> None:
    agent, mirror = _agent(), EpochChain(SECRET, (11, 12))
    first = agent.sender.seal(LinkType.CHAFF, BODY)
    assert isinstance(opener(mirror.current.up).unprotect(first), bytes)
    agent.go_ahead()
    sender = agent.sender
    agent.go_ahead()
    assert agent.sender is sender, "one sender for an epoch: it counts the nonces"
    ear = opener(mirror.following.up)
    assert isinstance(ear.unprotect(agent.sender.seal(LinkType.CHAFF, BODY)), bytes)
    agent.arrive()
    assert agent.sender is sender
    assert isinstance(ear.unprotect(agent.sender.seal(LinkType.CHAFF, BODY)), bytes)
    agent.go_ahead()
    mirror.advance()
    assert cell_ssrc(agent.sender.seal(LinkType.CHAFF, BODY)) == mirror.following.up.ssrc


def test_the_epoch_that_was_left_is_heard_for_a_while_and_then_forgotten() -> None:
    agent, mirror = _agent(), EpochChain(SECRET, (11, 12))
    agent.go_ahead()
    agent.arrive()
    assert _era(agent, _cell(mirror.current.down)) is Era.BEFORE
    assert _era(agent, _cell(mirror.current.challenge())) is None
    agent.forget_before()
    agent.forget_before()
    assert _era(agent, _cell(mirror.current.down, skip=1)) is None


def test_a_rekeying_makes_both_ends_go_on_together() -> None:
    agent, mirror = _agent(), EpochChain(SECRET, (11, 12))
    assert not agent.rekeying
    half = agent.rekey()
    assert agent.rekeying
    assert agent.rekey() == half, "the same until it is answered"
    other, theirs = _agent(), EpochChain(SECRET, (11, 12))
    other._entropy = SeededEntropy("other")
    answer = other.rekey()
    assert other._private is not None
    mirror.stir(other._private.exchange(agent._private.public_key()))
    before = mirror.current.down
    assert agent.rekeyed(answer)
    assert not agent.rekeying
    assert agent.ahead
    assert isinstance(opener(mirror.following.up).unprotect(agent.sender.seal(LinkType.CHAFF, BODY)), bytes)
    assert _era(agent, _cell(before)) is Era.CURRENT, "until the reflector follows"
    assert _era(agent, _cell(mirror.following.down)) is Era.FOLLOWING
    assert _era(agent, _cell(theirs.following.down)) is None, "what it would have been without"


def test_halves_that_were_not_asked_for_or_are_no_good_are_refused() -> None:
    agent = _agent()
    assert not agent.rekeyed(bytes(range(32)))
    agent.rekey()
    assert not agent.rekeyed(bytes(32)), "a point of small order"
    agent.forget_rekey()
    assert not agent.rekeyed(bytes(range(32)))
    agent.rekey()
    agent.go_ahead()
    assert not agent.rekeyed(bytes(range(32))), "it is under way to that epoch as it was"


def test_nobody_arrives_where_they_did_not_go() -> None:
    with pytest.raises(AssertionError):
        _agent().arrive()
