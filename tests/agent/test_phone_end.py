"""A phone that is the end itself: what passes, when, and what is said in its place."""

import asyncio
from typing import cast

from relay.agent.phone_end import AGREE_SECONDS, HELLO_EVERY, HELLO_FOR, PhoneEnd
from relay.agent.phone_guard import DROPPED, TAKEN
from relay.agent.phone_leg import PhoneLeg
from relay.core import SeededEntropy
from relay.rtp import Datagram, Kind, RtpPacket
from relay.sip.line_voice import LineVoice
from relay.zrtp import AlarmKind
from relay.zrtp.hello import hello_hash
from relay.zrtp.messages import CONF2_ACK, HELLO_ACK, MessageType, build
from relay.zrtp.packet import PacketWriter
from tests.agent.virtual_time import LoopClock, in_virtual_time

LINE = LineVoice(98, ((99, 48_000),))
_WRITER = PacketWriter(7, SeededEntropy("writer"))
_HELLO = build(MessageType.HELLO, b"1.10" + bytes(104))
HELLO = _WRITER.wrap(_HELLO)
OTHER_HELLO = _WRITER.wrap(build(MessageType.HELLO, b"1.10" + bytes(103) + b"?"))
NEWER_HELLO = _WRITER.wrap(build(MessageType.HELLO, b"1.20" + bytes(104)))
OLDER_HELLO = _WRITER.wrap(build(MessageType.HELLO, b"1.00" + bytes(104)))
ANNOUNCED = (hello_hash(_HELLO),)
ACK = _WRITER.wrap(HELLO_ACK)
CONFIRM_2 = _WRITER.wrap(build(MessageType.CONFIRM_2, bytes(64)))
DONE = _WRITER.wrap(CONF2_ACK)


def rtp(payload_type: int, payload: bytes = bytes(70)) -> bytes:
    return RtpPacket(payload_type, 1, 960, 7, payload).to_bytes()


class Bench:
    """An end, and what it sent both ways."""

    def __init__(self) -> None:
        self.to_phone: list[bytes] = []
        self.to_cells: list[Datagram] = []
        self.told: list[str] = []
        leg = cast(PhoneLeg, self)
        self.end = PhoneEnd(
            leg,
            self.to_cells.append,
            LoopClock(),
            agreed=lambda: self.told.append("agreed"),
            failed=lambda why: self.told.append(why.value),
        )
        self.end.peer = LINE

    def pass_on(self, datagram: bytes) -> None:
        self.to_phone.append(datagram)

    def cells(self, data: bytes, kind: Kind = Kind.ZRTP) -> bool:
        return self.end.from_cells(Datagram(kind, data))

    def secure(self) -> None:
        """The two have keys: the last two messages passed."""
        self.end.begin(ANNOUNCED)
        assert self.end.arrived(CONFIRM_2) == TAKEN
        self.cells(DONE)
        self.to_cells.clear()
        self.to_phone.clear()


@in_virtual_time
async def test_zrtp_alone_passes_until_the_two_have_keys() -> None:
    bench = Bench()
    bench.end.begin(ANNOUNCED)
    for payload_type in (98, 99):
        assert bench.end.arrived(rtp(payload_type)) == TAKEN
        assert not bench.cells(rtp(payload_type), Kind.VOICE)
    assert not bench.to_cells
    assert not bench.to_phone
    assert bench.end.leaves(b"a tone") == b"a tone"
    bench.end.arrived(CONFIRM_2)
    bench.cells(DONE)
    assert bench.told == ["agreed"]
    assert bench.to_phone == [DONE]
    assert bench.end.leaves(b"a tone") is None, "the phone would not play it"
    bench.cells(DONE)
    assert bench.told == ["agreed"], "once"
    bench.end.close()


@in_virtual_time
async def test_what_the_other_end_forges_opens_no_phone_s_plain_voice() -> None:
    """It can send messages of any type; a phone that did not find them authentic confirms nothing, and talks on."""
    bench = Bench()
    bench.end.begin(ANNOUNCED)
    for message in (CONFIRM_2, DONE, CONFIRM_2, DONE):
        bench.cells(message)
        bench.cells(rtp(98), Kind.VOICE)
        assert bench.end.arrived(rtp(98)) == TAKEN
    assert not bench.to_cells
    assert not bench.told
    assert not bench.end.secure
    # The phone finds Confirm2 to be authentic, and says so.
    bench.end.arrived(DONE)
    assert bench.told == ["agreed"]
    bench.to_cells.clear()
    bench.end.arrived(rtp(98))
    assert len(bench.to_cells) == 1
    bench.end.close()


@in_virtual_time
async def test_voice_says_what_a_lost_conf2ack_would_have() -> None:
    bench = Bench()
    bench.end.begin(ANNOUNCED)
    bench.end.arrived(CONFIRM_2)
    assert not bench.told
    assert bench.cells(rtp(98), Kind.VOICE)
    assert bench.told == ["agreed"]
    bench.end.close()


@in_virtual_time
async def test_then_everything_passes_as_it_is_by_its_kind() -> None:
    bench = Bench()
    bench.secure()
    for payload_type, kind in ((98, Kind.VOICE), (99, Kind.EVENT)):
        sealed = rtp(payload_type)
        assert bench.end.arrived(sealed) == TAKEN
        assert bench.to_cells.pop() == Datagram(kind, sealed)
        assert bench.cells(sealed, kind) is (kind is Kind.VOICE)
        assert bench.to_phone.pop() == sealed
    for datagram in (rtp(13), rtp(72), b"", b"\x80", bytes(100), b"\x10\x00\x00\x00ZRTP nonsense"):
        assert bench.end.arrived(datagram) == DROPPED
    assert not bench.to_cells
    bench.cells(HELLO, Kind.VOICE)
    bench.cells(b"\x10\x00\x00\x00ZRTP nonsense")
    assert not bench.to_phone, "what is not what it says it is"
    bench.end.close()


@in_virtual_time
async def test_the_phone_s_last_hello_is_repeated_until_somebody_answers() -> None:
    bench = Bench()
    bench.end.arrived(HELLO)
    await asyncio.sleep(60.0)
    assert not bench.to_cells, "there are no cells yet"
    bench.end.begin(ANNOUNCED)
    await asyncio.sleep(1.0)
    assert bench.to_cells == [Datagram(Kind.ZRTP, HELLO)] * 6
    bench.cells(HELLO)
    await asyncio.sleep(0.5)
    assert len(bench.to_cells) > 6, "the other end's own Hello is no answer"
    bench.cells(ACK)
    bench.to_cells.clear()
    await asyncio.sleep(5.0)
    assert not bench.to_cells
    bench.end.close()


@in_virtual_time
async def test_it_is_not_repeated_for_ever_and_in_the_end_the_call_is_given_up() -> None:
    bench = Bench()
    bench.end.arrived(HELLO)
    bench.end.begin(ANNOUNCED)
    await asyncio.sleep(AGREE_SECONDS - 1.0)
    assert len(bench.to_cells) <= HELLO_FOR / HELLO_EVERY + 1
    assert not bench.told
    await asyncio.sleep(2.0)
    assert bench.told == [AlarmKind.DOWNGRADE.value]
    await asyncio.sleep(60.0)
    assert bench.told == [AlarmKind.DOWNGRADE.value]
    bench.end.close()


@in_virtual_time
async def test_another_hello_than_the_announced_one_reaches_no_phone_and_ends_it() -> None:
    for announced in (ANNOUNCED, (f"1.10 {1:064x}", *ANNOUNCED)):
        bench = Bench()
        bench.end.begin(announced)
        bench.cells(HELLO)
        assert bench.to_phone == [HELLO]
        for _ in range(2):
            bench.cells(OTHER_HELLO)
            bench.cells(ACK)
        assert bench.to_phone == [HELLO]
        assert bench.told == [AlarmKind.HELLO_HASH_MISMATCH.value]
        assert bench.end.arrived(HELLO) == DROPPED, "nothing passes any more"
    bench = Bench()
    bench.end.begin(())
    bench.cells(HELLO)
    assert not bench.to_phone, "nor one that nothing announced"


@in_virtual_time
async def test_a_phone_that_speaks_a_newer_version_too_says_that_one_first() -> None:
    """No hash of ours is for it: it reaches no phone, and ends nothing."""
    bench = Bench()
    bench.end.begin(ANNOUNCED)
    bench.cells(NEWER_HELLO)
    assert not bench.to_phone
    assert not bench.told
    assert bench.end.counters["newer version"] == 1
    bench.cells(HELLO)
    assert bench.to_phone == [HELLO]
    bench.end.close()


@in_virtual_time
async def test_nobody_who_announced_ours_says_an_older_version() -> None:
    bench = Bench()
    bench.end.begin(ANNOUNCED)
    bench.cells(OLDER_HELLO)
    assert not bench.to_phone
    assert bench.told == [AlarmKind.HELLO_HASH_MISMATCH.value]


@in_virtual_time
async def test_another_hello_after_the_keys_is_dropped_and_ends_nothing() -> None:
    bench = Bench()
    bench.secure()
    bench.cells(OTHER_HELLO)
    assert not bench.to_phone
    assert bench.told == ["agreed"]
    assert bench.cells(rtp(98), Kind.VOICE)
    bench.end.close()


@in_virtual_time
async def test_once_closed_nothing_passes() -> None:
    bench = Bench()
    bench.secure()
    bench.end.close()
    assert bench.end.arrived(rtp(98)) == DROPPED
    assert bench.end.arrived(HELLO) == DROPPED
    assert not bench.cells(rtp(98), Kind.VOICE)
    bench.cells(ACK)
    assert not bench.to_cells
    assert not bench.to_phone
