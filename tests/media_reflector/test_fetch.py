"""What an agent makes of a reflector's answers; `test_server.py` has the honest ones over a stream."""

import asyncio

import pytest

from relay.core import PeerError, SeededEntropy
from relay.media_reflector import ANSWER_SIZE, ReflectorKeys, ReflectorReference, fetch_ticket
from relay.media_reflector.descriptor import verify_descriptor
from relay.media_reflector.tickets import LIFETIME, SHORTEST_LIFETIME, Answer
from relay.wire import encode, frame, pad

ENTROPY = SeededEntropy("fetch")
KEYS = ReflectorKeys.generate(ENTROPY)
ONION = "a" * 56
WALL = 1_800_000_000.0
SIGNED = KEYS.signed_descriptor(ONION, "192.0.2.1", 7210, WALL)
DESCRIPTOR = verify_descriptor(SIGNED, ReflectorReference(ONION, KEYS.public_identity), WALL)


class Answering:
    """A dialer whose every stream already holds one answer."""

    def __init__(self, answer: Answer) -> None:
        self._data = frame(pad(encode(answer), ANSWER_SIZE))

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


@pytest.mark.parametrize("lifetime", [SHORTEST_LIFETIME, LIFETIME])
async def test_a_ticket_expires_in_the_callers_clock(lifetime: float) -> None:
    dialer = Answering(Answer(True, b"", int(lifetime)))
    ticket = await fetch_ticket(dialer, DESCRIPTOR, ENTROPY, isolation="t", now=1000.0)
    assert ticket.expires == 1000.0 + lifetime


@pytest.mark.parametrize("lifetime", [0, SHORTEST_LIFETIME - 1, LIFETIME + 1, 2**40])
async def test_a_lifetime_that_would_make_its_holder_stand_out_is_refused(lifetime: float) -> None:
    dialer = Answering(Answer(True, b"", int(lifetime)))
    with pytest.raises(PeerError, match="lifetime"):
        await fetch_ticket(dialer, DESCRIPTOR, ENTROPY, isolation="t", now=1000.0)
