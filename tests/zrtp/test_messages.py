"""The frame of messages, and the small ones."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.messages import (
    CLEAR_ACK,
    CONF2_ACK,
    ERROR_ACK,
    HELLO_ACK,
    RELAY_ACK,
    MessageType,
    Ping,
    PingAck,
    build,
    build_error,
    build_go_clear,
    read,
    read_ack,
    read_error,
    read_go_clear,
)


@given(
    st.sampled_from(list(MessageType)),
    st.integers(0, 30).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
)
def test_what_is_built_is_read(kind: MessageType, body: bytes) -> None:
    assert read(build(kind, body)) == (kind, body)


def test_acknowledgements_are_three_words() -> None:
    for message, name in (
        (HELLO_ACK, b"HelloACK"),
        (CONF2_ACK, b"Conf2ACK"),
        (ERROR_ACK, b"ErrorACK"),
        (CLEAR_ACK, b"ClearACK"),
        (RELAY_ACK, b"RelayACK"),
    ):
        assert message == b"\x50\x5a\x00\x03" + name
        read_ack(read(message)[1])
    with pytest.raises(ZrtpError, match="with a body"):
        read_ack(b"1234")


@pytest.mark.parametrize(
    "message",
    [b"", HELLO_ACK[:-1], b"\x50\x5b" + HELLO_ACK[2:], HELLO_ACK + bytes(4), b"\x50\x5a\x00\x03Hello!!!"],
)
def test_what_is_no_message_is_malformed(message: bytes) -> None:
    with pytest.raises(ZrtpError) as error:
        read(message)
    assert error.value.code is ErrorCode.MALFORMED
    assert not error.value.attack


@given(st.binary(max_size=64))
def test_nothing_but_zrtp_errors_come_out(data: bytes) -> None:
    for reader in (read, read_error, read_go_clear, Ping.read, PingAck.read):
        with contextlib.suppress(ZrtpError):
            reader(data)


def test_error_and_go_clear() -> None:
    assert build_error(0x100) == b"\x50\x5a\x00\x04Error   \x00\x00\x01\x00"
    assert read_error(read(build_error(ErrorCode.TIMEOUT))[1]) == 0xB0
    assert read_go_clear(read(build_go_clear(b"8 octets"))[1]) == b"8 octets"
    wrong: list[tuple[Callable[[bytes], object], bytes]] = [(read_error, b"12345"), (read_go_clear, b"1234")]
    for reader, body in wrong:
        with pytest.raises(ZrtpError, match="wrong length"):
            reader(body)


def test_ping_and_its_answer() -> None:
    ping = Ping(b"1.10", b"endpoint")
    assert Ping.read(read(ping.build())[1]) == ping
    answer = PingAck(b"1.10", b"ourselfs", b"endpoint", 0xCAFE)
    assert len(answer.build()) == 9 * 4
    assert PingAck.read(read(answer.build())[1]) == answer
