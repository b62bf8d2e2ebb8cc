"""What an agent, or another reflector, makes of a reflector's answers; `test_server.py` has the honest ones over a
stream."""

import asyncio

import pytest

from relay.core import PeerError, SeededEntropy
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.media_reflector.descriptor import verify_descriptor
from relay.media_reflector.fetch import (
    ComeAgainLater,
    fetch_descriptor,
    fetch_ticket,
    fetch_trunk_ticket,
    leave_backup_key,
)
from relay.media_reflector.resumption import KEY_LIFETIME
from relay.media_reflector.ticket_messages import Answer, write_answer
from relay.media_reflector.tickets import LIFETIME, SHORTEST_LIFETIME, TicketKind
from relay.wire import frame

ENTROPY = SeededEntropy("fetch")
KEYS = ReflectorKeys.generate(ENTROPY)
OURS = ReflectorKeys.generate(ENTROPY).identity_key
ONION = "a" * 56
WALL = 1_800_000_000.0
SIGNED = KEYS.signed_descriptor(ONION, [("192.0.2.1", 7210)], WALL, capacity=100)
REFERENCE = ReflectorReference(ONION, KEYS.public_identity)
DESCRIPTOR = verify_descriptor(SIGNED, REFERENCE, WALL)


class Answering:
    """A dialer whose every stream already holds one answer."""

    def __init__(self, answer: Answer) -> None:
        self._data = frame(write_answer(answer))

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        reader.feed_data(self._data)
        protocol = asyncio.StreamReaderProtocol(reader)
        return reader, asyncio.StreamWriter(_Nowhere(), protocol, reader, loop)


class _Nowhere(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False


async def test_a_descriptor_is_verified() -> None:
    dialer = Answering(Answer(True, SIGNED, 0))
    assert await fetch_descriptor(dialer, REFERENCE, isolation="t", wall=WALL) == DESCRIPTOR
    with pytest.raises(PeerError):
        await fetch_descriptor(dialer, ReflectorReference(ONION, bytes(32)), isolation="t", wall=WALL)


@pytest.mark.parametrize("lifetime", [SHORTEST_LIFETIME, LIFETIME])
async def test_a_ticket_expires_in_the_callers_clock(lifetime: float) -> None:
    dialer = Answering(Answer(True, b"", int(lifetime)))
    ticket = await fetch_ticket(dialer, DESCRIPTOR, ENTROPY, isolation="t", now=1000.0)
    assert ticket.expires == 1000.0 + lifetime
    assert ticket.kind is TicketKind.FETCHED
    trunk = await fetch_trunk_ticket(dialer, DESCRIPTOR, OURS, ENTROPY, isolation="t", now=1000.0)
    assert trunk.expires == 1000.0 + lifetime
    assert (trunk.kind, trunk.peer) == (TicketKind.TRUNK, KEYS.public_identity)


@pytest.mark.parametrize("lifetime", [0, SHORTEST_LIFETIME - 1, LIFETIME + 1, 2**40])
async def test_a_lifetime_that_would_make_its_holder_stand_out_is_refused(lifetime: float) -> None:
    dialer = Answering(Answer(True, b"", int(lifetime)))
    with pytest.raises(PeerError, match="lifetime"):
        await fetch_ticket(dialer, DESCRIPTOR, ENTROPY, isolation="t", now=1000.0)
    with pytest.raises(PeerError, match="lifetime"):
        await fetch_trunk_ticket(dialer, DESCRIPTOR, OURS, ENTROPY, isolation="t", now=1000.0)


async def test_a_backup_key_is_held_for_as_long_as_we_say_to_our_lines() -> None:
    await leave_backup_key(
        Answering(Answer(True, b"", int(KEY_LIFETIME))), DESCRIPTOR, OURS, bytes(32), isolation="t"
    )
    for lifetime in (0, KEY_LIFETIME - 1, KEY_LIFETIME + 1):
        dialer = Answering(Answer(True, b"", int(lifetime)))
        with pytest.raises(PeerError, match="lifetime"):
            await leave_backup_key(dialer, DESCRIPTOR, OURS, bytes(32), isolation="t")


async def test_whoever_is_refused_knows_when_to_come_again() -> None:
    dialer = Answering(Answer(False, b"", 45))
    with pytest.raises(ComeAgainLater, match="come again in about 45 seconds") as refusal:
        await fetch_ticket(dialer, DESCRIPTOR, ENTROPY, isolation="t", now=1000.0)
    assert refusal.value.seconds == 45
    with pytest.raises(ComeAgainLater):
        await fetch_trunk_ticket(dialer, DESCRIPTOR, OURS, ENTROPY, isolation="t", now=1000.0)
    with pytest.raises(ComeAgainLater):
        await leave_backup_key(dialer, DESCRIPTOR, OURS, bytes(32), isolation="t")
