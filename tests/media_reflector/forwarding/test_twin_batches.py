"""Batches of datagrams through the kernel, on loopback."""

import socket
from collections.abc import Iterator

import pytest

from relay.media_reflector.forwarding.face import Datagram, pack_address
from relay.media_reflector.forwarding.twin_batches import DatagramSocket
from relay.rtp.cell import CELL_SIZE

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets of one family."""
    family, host = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for end in (one, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            end.bind((host, 0))
            end.setblocking(False)
        yield one, other


def packed(end: socket.socket) -> bytes:
    return pack_address(*end.getsockname()[:2])


def drained(batches: DatagramSocket) -> list[Datagram]:
    taken: list[Datagram] = []
    while batch := batches.receive():
        taken += batch
    return taken


def test_nothing_waits(ends: tuple[socket.socket, socket.socket]) -> None:
    assert DatagramSocket(ends[0]).receive() == ()


def test_more_than_a_batch(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sent = [number.to_bytes(CELL_SIZE) for number in range(300)]
    for datagram in sent:
        other.sendto(datagram, one.getsockname())
    batches = DatagramSocket(one)
    assert len(batches.receive()) == batches.most
    assert drained(batches) == [(datagram, packed(other)) for datagram in sent[batches.most :]]


def test_sizes(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    for size in (CELL_SIZE, 0, 7, CELL_SIZE, CELL_SIZE + 1, 9000, CELL_SIZE):
        other.sendto(bytes((size % 256,)) * size, one.getsockname())
    taken = [datagram for datagram, _ in DatagramSocket(one).receive()]
    # What is longer than a cell is cut, and still no cell.
    assert [len(datagram) for datagram in taken] == [160, 0, 7, 160, 161, 161, 160]
    assert taken[2] == bytes((7,)) * 7
    assert taken[6] == bytes((160,)) * 160


def test_more_leave_than_there_was_room_for(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sender, receiver = DatagramSocket(one), DatagramSocket(other)
    for count in (1, 700, 2):
        leaving = [(number.to_bytes(CELL_SIZE), packed(other)) for number in range(count)]
        sender.fill(leaving)
        assert sender.flush() == 0
        assert drained(receiver) == [(datagram, packed(one)) for datagram, _ in leaving]


def test_nothing_leaves_twice(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sender = DatagramSocket(one)
    sender.fill([(bytes(CELL_SIZE), packed(other))])
    sender.flush()
    sender.fill([])
    assert sender.flush() == 0
    assert len(drained(DatagramSocket(other))) == 1


def test_one_that_is_refused_does_not_hold_up_the_others(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    sender = DatagramSocket(one)
    nowhere = packed(other)[:-2] + bytes(2)
    sender.fill([(bytes((at,)) * CELL_SIZE, nowhere if at in (0, 2) else packed(other)) for at in range(5)])
    assert sender.flush() == 2
    assert [datagram[0] for datagram, _ in drained(DatagramSocket(other))] == [1, 3, 4]


def test_an_error_that_came_in(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    one.connect(other.getsockname())
    other.close()
    one.send(b"to nobody")
    with pytest.raises(OSError, match="recvmmsg"):
        DatagramSocket(one).receive()
