"""Streams that stand open: always one where told, opened at random times, used by whatever is sent."""

import asyncio
from pathlib import Path

import pytest

from relay.agent.circuits import MOST_WARM, CallingCircuits, CircuitTimes, MessageSender
from relay.agent.flow_session import CONTENT_TYPE
from relay.core import MisuseError, SeededEntropy, SystemEntropy, TransportUnavailable
from relay.forward_publish import SEALED_SIZE
from relay.node.contact_point import SENDER_IDLE
from relay.sip import MessageStream, Request, response_to
from tests.agent.virtual_time import LoopClock, in_virtual_time

ONION, OTHER = "a" * 56, "b" * 56
BODY = bytes(SEALED_SIZE)
TOKEN, SECOND = "t" * 52, "u" * 52


class _Stream(asyncio.Transport):
    def __init__(self, tor: "Tor", onion: str, isolation: str, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self.tor, self.onion, self.isolation, self.reader = tor, onion, isolation, reader
        self.opened = self.closed = asyncio.get_running_loop().time()
        self.up, self.deaf = True, False
        self.said: list[Request] = []
        self.parser = MessageStream()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.tor.written_at = asyncio.get_running_loop().time()
        for message in self.parser.receive(bytes(data)):
            assert isinstance(message, Request)
            self.said.append(message)
            if not self.deaf:
                answer = response_to(message, self.tor.status, to_tag="x").to_bytes()
                asyncio.get_running_loop().call_later(0.4, self.reader.feed_data, answer)

    def close(self) -> None:
        if self.up:
            self.up = False
            self.closed = asyncio.get_running_loop().time()
            self.reader.feed_eof()

    def is_closing(self) -> bool:
        return not self.up


class Tor:
    """Opens a stream in a second, and answers every MESSAGE after 0.4 s."""

    def __init__(self) -> None:
        self.streams: list[_Stream] = []
        self.cut = False
        self.status = 202
        self.written_at = 0.0
        self.asked = 0

    async def open(
        self, onion: str, port: int, *, isolation: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.asked += 1
        await asyncio.sleep(1.0)
        if self.cut:
            raise TransportUnavailable("nobody there")
        reader = asyncio.StreamReader()
        stream = _Stream(self, onion, isolation, reader)
        self.streams.append(stream)
        loop = asyncio.get_running_loop()
        return reader, asyncio.StreamWriter(stream, asyncio.StreamReaderProtocol(reader), reader, loop)

    def up(self, onion: str = ONION) -> list[_Stream]:
        return [stream for stream in self.streams if stream.up and stream.onion == onion]


def _now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_one_stream_stands_open_at_all_times_and_none_reaches_the_idle_limit() -> None:
    tor = Tor()
    circuits = CallingCircuits(tor, LoopClock(), SeededEntropy(1))
    circuits.keep([ONION])
    await asyncio.sleep(22.0)
    for _ in range(3600):
        assert len(tor.up()) in (1, 2)
        await asyncio.sleep(1.0)
    await circuits.close()
    assert tor.up() == []
    lives = [stream.closed - stream.opened for stream in tor.streams]
    assert all(life < SENDER_IDLE for life in lives)
    assert len(set(lives)) == len(lives)
    per_circuit = [
        sum(stream.isolation == label for stream in tor.streams)
        for label in {s.isolation for s in tor.streams}
    ]
    assert 6 <= len(per_circuit) <= 13
    assert 70 <= len(tor.streams) <= 110
    for label in {stream.isolation for stream in tor.streams}:
        used = [stream.opened for stream in tor.streams if stream.isolation == label]
        assert max(used) - min(used) < 600.0, "Tor puts no new stream on an older circuit"


@in_virtual_time
async def test_what_is_sent_leaves_at_once_by_the_stream_that_stands_open() -> None:
    tor = Tor()
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy())
    sender = MessageSender(tor, SystemEntropy(), circuits)
    circuits.keep([ONION])
    await asyncio.sleep(25.0)
    before, asked = _now(), tor.asked
    await sender.send(ONION, TOKEN, BODY)
    assert tor.written_at == before
    assert tor.asked == asked
    (used,) = [stream for stream in tor.streams if stream.said]
    assert used.said[0].body == BODY
    assert used.said[0].content_type == CONTENT_TYPE
    assert not used.up
    await asyncio.sleep(40.0)
    (warm,) = tor.up()
    assert warm.isolation != used.isolation, "a circuit that a message went by is kept for its target"
    assert warm.opened - before > 5.0, "and is not replaced at once"
    await circuits.close()


@in_virtual_time
async def test_what_follows_to_one_target_goes_its_way_and_to_no_other() -> None:
    tor = Tor()
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy())
    sender = MessageSender(tor, SystemEntropy(), circuits)
    circuits.keep([ONION])
    await asyncio.sleep(25.0)
    for token in (TOKEN, TOKEN, SECOND, SECOND):
        await sender.send(ONION, token, BODY)
    first, again, other, more = (stream.isolation for stream in tor.streams if stream.said)
    assert first == again
    assert other == more
    assert first != other
    assert all("t" * 8 not in stream.isolation for stream in tor.streams)
    await circuits.close()


@in_virtual_time
async def test_a_stream_that_died_unseen_is_passed_over() -> None:
    tor = Tor()
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy())
    sender = MessageSender(tor, SystemEntropy(), circuits)
    circuits.keep([ONION])
    await asyncio.sleep(25.0)
    for stream in tor.up():
        stream.close()
    await sender.send(ONION, TOKEN, BODY)
    await asyncio.sleep(120.0)
    for stream in tor.up():
        stream.deaf = True
    before = _now()
    await sender.send(ONION, TOKEN, BODY)
    assert _now() - before < 12.0
    await circuits.close()


@in_virtual_time
async def test_only_the_likeliest_contact_points_are_kept_warm() -> None:
    tor = Tor()
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy())
    onions = [letter * 56 for letter in "abcdefghijkl"]
    circuits.keep([*onions, ONION])
    await asyncio.sleep(40.0)
    assert {stream.onion for stream in tor.streams if stream.up} == set(onions[:MOST_WARM])
    assert circuits.take(onions[-1]) is None
    circuits.keep([OTHER])
    await asyncio.sleep(1.0)
    assert {stream.onion for stream in tor.streams if stream.up} == {OTHER}
    await circuits.close()


@in_virtual_time
async def test_without_tor_it_is_tried_again_now_and_then() -> None:
    tor = Tor()
    tor.cut = True
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy())
    circuits.keep([ONION])
    await asyncio.sleep(600.0)
    assert 8 <= tor.asked <= 30
    assert circuits.take(ONION) is None
    with pytest.raises(TransportUnavailable):
        await MessageSender(tor, SystemEntropy(), circuits).send(ONION, TOKEN, BODY)
    tor.cut = False
    await asyncio.sleep(65.0)
    assert tor.up()
    await circuits.close()


@in_virtual_time
async def test_a_stream_used_while_its_successor_was_opened_takes_the_circuit_with_it() -> None:
    tor = Tor()
    times = CircuitTimes(begin=(0.0, 0.0), stream=(10.0, 10.0), after_use=(5.0, 5.0))
    circuits = CallingCircuits(tor, LoopClock(), SystemEntropy(), times)
    circuits.keep([ONION])
    await asyncio.sleep(9.0)
    assert circuits.take(ONION) is not None
    await asyncio.sleep(8.0)
    slot = circuits._slots[ONION]
    assert slot.stream is not None
    await asyncio.sleep(slot.stream.until - _now() + 0.5)  # the successor is just being opened
    assert circuits.take(ONION) is None, "too old to be sure of"
    await circuits.close()


@in_virtual_time
async def test_a_refusal_is_said() -> None:
    tor = Tor()
    tor.status = 503
    with pytest.raises(TransportUnavailable, match="did not take"):
        await MessageSender(tor, SystemEntropy()).send(ONION, TOKEN, BODY)
    with pytest.raises(MisuseError):
        await MessageSender(tor, SystemEntropy()).send(ONION, TOKEN, BODY[1:])


def test_the_costs_that_are_stated_are_those_of_the_times(tmp_path: Path) -> None:
    times = CircuitTimes()
    streams = 86400.0 / (sum(times.stream) / 2)
    circuits = 86400.0 / (sum(times.circuit) / 2)
    assert (round(streams), round(circuits)) == (2033, 206)
    assert times.stream[1] < SENDER_IDLE
