"""TURN messages, against the test vectors' way of writing them."""

import struct

import pytest

from bench.peers import turn
from relay.core import PeerError


def test_an_allocation_asks_for_udp() -> None:
    message = turn.allocate(7)
    assert message[:8] == bytes.fromhex("0003 0008 2112A442")
    assert message[8:20] == (7).to_bytes(12)
    assert message[20:] == bytes.fromhex("0019 0004 11000000")


def test_a_channel_is_bound_to_a_masked_address() -> None:
    """RFC 5769 section 2.2 masks 192.0.2.1 port 32853 like this."""
    message = turn.channel_bind(1, "192.0.2.1", 32853)
    assert message[20:28] == bytes.fromhex("000C 0004 40010000")
    assert message[28:] == bytes.fromhex("0012 0008 0001A147E112A643")


def test_the_relayed_address_is_read() -> None:
    body = bytes.fromhex("0016 0008 0001A147E112A643 8022 0003 61626300")
    data = struct.pack("!HHI12s", 0x0103, len(body), turn.COOKIE, (9).to_bytes(12)) + body
    assert turn.parse(data) == turn.Response(turn.ALLOCATE, 9, 0, ("192.0.2.1", 32853))


def test_a_refusal_says_which() -> None:
    body = bytes.fromhex("0009 0004 00000425")
    data = struct.pack("!HHI12s", 0x0113, len(body), turn.COOKIE, (9).to_bytes(12)) + body
    assert turn.parse(data).error == 437


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(20),
        turn.allocate(1),
        turn.allocate(1)[:-1],
        struct.pack("!HHI12s", 0x0103, 4, turn.COOKIE, bytes(12)) + bytes.fromhex("00160008"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        turn.parse(data)


def test_a_channel_header_counts_what_follows() -> None:
    assert turn.channel_header(160) == bytes.fromhex("4001 00A0")
