"""An agent that is the end: what comes out of cells and is not the other end's is counted, and goes nowhere."""

from relay.agent.agent_end import AgentEnd
from relay.core import SeededEntropy
from relay.rtp import Datagram, Kind, RtpPacket, TelephoneEvent
from relay.sip.line_voice import LineVoice
from tests.agent.secured_sides import cross
from tests.agent.test_call_security import called, side
from tests.agent.virtual_time import in_virtual_time


@in_virtual_time
async def test_whatever_comes_that_is_not_the_other_ends_is_dropped() -> None:
    async with called(side("alice", zrtp=False), side("bob", zrtp=False)) as (alice, bob):
        await cross(alice, bob, 3.0)
        ours, theirs = alice.security.end, bob.security.end
        assert isinstance(ours, AgentEnd)
        assert isinstance(theirs, AgentEnd)
        chance = SeededEntropy("noise")
        plain = RtpPacket(96, 1, 960, 7, bytes(60)).to_bytes()
        for noise in (b"", b"\x80", plain, *(chance.token(size) for size in (11, 12, 22, 82, 324))):
            for kind in (Kind.VOICE, Kind.EVENT):
                assert not ours.from_cells(Datagram(kind, noise))
            assert not ours.from_cells(Datagram(Kind.ZRTP, noise))
        assert ours.counters["not opened"] == 16
        # Authentic, and of no use.
        for number, (payload_type, payload) in enumerate(((13, bytes(4)), (101, b"\xff" * 4), (101, b""))):
            sealed = theirs.zrtp.protect(RtpPacket(payload_type, number, 960, 7, payload).to_bytes())
            assert sealed is not None
            assert not ours.from_cells(Datagram(Kind.VOICE, sealed))
        assert (ours.counters["other payload type"], ours.counters["malformed"]) == (1, 2)
        assert not alice.phone.heard
        assert not alice.broken


@in_virtual_time
async def test_keys_are_not_sent_to_an_end_that_takes_none() -> None:
    async with called(side("alice", zrtp=False), side("bob", zrtp=False)) as (alice, bob):
        await cross(alice, bob, 3.0)
        end = alice.security.end
        assert isinstance(end, AgentEnd)
        end.peer = LineVoice(96)
        made = RtpPacket(97, 1, 960, 7, TelephoneEvent(5, 160).to_bytes()).to_bytes()
        end.from_leg(Datagram(Kind.EVENT, made))
        assert end.counters["keys not taken"] == 1
