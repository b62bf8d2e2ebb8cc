"""Both data planes with real sockets on loopback: what is sent arrives, and nothing more.  No times are tested."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import ManualClock, MisuseError, SystemClock
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import ControlReceived, Forwarding, Upcall, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.rtp.cell import CELL_SIZE, LinkType
from relay.rtp.srtp import AeadSrtp, SessionKeys
from tests.media_reflector.forwarding.planes import (
    Bed,
    FarEnd,
    body,
    down_keys,
    make_forwarding,
    opened,
    up_keys,
)

PATIENCE = 10.0


def bound(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    one.settimeout(PATIENCE)
    return one


class Agent:
    """One line's far end, with a socket of its own."""

    def __init__(self, plane: Forwarding, server: socket.socket, ssrc: int, slot: int) -> None:
        self.socket = bound(server.family)
        self.server = server.getsockname()
        address = pack_address(*self.socket.getsockname()[:2])
        number = plane.add_line(slot, up_keys(ssrc), time.monotonic())
        assert number is not None
        self.line = FarEnd(number, up_keys(ssrc), down_keys(ssrc), address, slot)
        plane.settle(number, self.line.down, address, advance=False)

    def say(self, text: str, link_type: LinkType = LinkType.END_TO_END) -> None:
        self.socket.sendto(self.line.cell(link_type, text)[0], self.server)

    def hear(self, wanted: tuple[LinkType, bytes]) -> int:
        """Wait for a cell with this in it; the sequence numbers until then must go up by one."""
        before = None
        while True:
            cell, source = self.socket.recvfrom(2048)
            assert source == self.server
            number = int.from_bytes(cell[2:4])
            assert before is None or number == before + 1
            before = number
            if opened(self.line.down, cell) == wanted:
                return number


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = [bound(), bound(socket.AF_INET6)]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def stopped(forwarding: Forwarding) -> Iterator[Forwarding]:
    """A data plane that ends with the test."""
    yield forwarding
    forwarding.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_two_lines_talk(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    alice, bob = (Agent(stopped, sockets[0], ssrc, 3 * ssrc) for ssrc in (1, 2))
    stopped.cross(alice.line.number, bob.line.number)
    stopped.start([sockets[:1]])
    for number in range(5):
        alice.say(f"{number} to bob")
        bob.say(f"{number} to alice")
        bob.hear((LinkType.END_TO_END, body(f"{number} to bob")))
        alice.hear((LinkType.END_TO_END, body(f"{number} to alice")))
    assert stopped.counters()["send_failed"] == 0


def test_over_both_families(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    alice, bob = (Agent(stopped, server, ssrc, 4) for server, ssrc in zip(sockets, (1, 2), strict=True))
    stopped.cross(alice.line.number, bob.line.number)
    stopped.start([sockets])
    alice.say("over IPv4")
    bob.hear((LinkType.END_TO_END, body("over IPv4")))
    bob.say("over IPv6")
    alice.hear((LinkType.END_TO_END, body("over IPv6")))
    assert stopped.upcalls() == []


def test_with_two_workers(stopped: Forwarding) -> None:
    servers = [bound(), bound()]
    agents = [Agent(stopped, servers[ssrc % 2], ssrc, ssrc) for ssrc in range(8)]
    for agent in agents[::2]:
        stopped.cross(agent.line.number, agent.line.number + 1)
    stopped.start([[one] for one in servers])
    for agent in agents:
        agent.say(f"from {agent.line.up.ssrc}")
    counts = stopped.counters
    until(lambda: counts()["cells_received"] == len(agents) and counts()["bodies_sent"] == len(agents))
    stopped.stop()
    for one in servers:
        one.close()


def test_lines_change_while_it_runs(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    stopped.start([sockets])
    alice = Agent(stopped, sockets[0], 1, 7)
    alice.hear((LinkType.CHAFF, bytes(131)))
    stopped.control(alice.line.number, body("control"))
    alice.hear((LinkType.CONTROL, body("control")))
    stopped.send(9, bytes(CELL_SIZE), alice.line.address)
    until(lambda: stopped.counters()["singles_sent"] == 1)
    stopped.remove(alice.line.number)
    sent = stopped.counters()["cells_sent"]
    time.sleep(0.05)
    # One cell may have been sealed ahead.
    assert stopped.counters()["cells_sent"] <= sent + 1


def test_the_descriptor_tells_of_upcalls(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    alice = Agent(stopped, sockets[0], 1, 3)
    descriptor = stopped.start([sockets])
    for text in ("first", "second"):
        assert select.select([descriptor], [], [], 0.05)[0] == []
        alice.say(text, LinkType.CONTROL)
        assert select.select([descriptor], [], [], PATIENCE)[0] == [descriptor]
        os.read(descriptor, 8)
        waiting: list[Upcall] = []
        until(lambda waiting=waiting: bool(waiting.extend(stopped.upcalls()) or waiting))  # type: ignore[misc]
        assert waiting == [ControlReceived(alice.line.number, body(text))]


def test_sizes_survive_the_batches(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    alice = Agent(stopped, sockets[0], 1, 3)
    stopped.start([sockets])
    cell = alice.line.cell()[0]
    for size in (0, 1, CELL_SIZE - 1, CELL_SIZE + 1, 1400, 60_000):
        alice.socket.sendto((cell * 400)[:size], alice.server)
    alice.socket.sendto(cell, alice.server)
    until(lambda: stopped.counters()["datagrams_received"] == 7)
    counts = stopped.counters()
    assert (counts["wrong_size"], counts["cells_received"]) == (6, 1)


def test_stop_and_start_again(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    alice = Agent(stopped, sockets[0], 1, 3)
    stopped.start([sockets])
    with pytest.raises(MisuseError):
        stopped.start([sockets])
    alice.hear((LinkType.CHAFF, bytes(131)))
    stopped.stop()
    stopped.stop()
    sent = stopped.counters()["cells_sent"]
    time.sleep(0.05)
    assert stopped.counters()["cells_sent"] == sent
    assert all(one.fileno() >= 0 for one in sockets)
    stopped.start([sockets])
    until(lambda: stopped.counters()["cells_sent"] > sent)


def test_an_address_of_a_family_that_is_not_there(stopped: Forwarding, sockets: list[socket.socket]) -> None:
    stopped.send(3, bytes(CELL_SIZE), pack_address("::1", 9))
    stopped.start([sockets[:1]])
    until(lambda: stopped.counters()["send_failed"] == 1)


def test_a_standstill_is_counted_and_not_made_up_for() -> None:
    plane = PlainForwarding(SystemClock())
    bed = Bed(plane)
    bed.line(3), bed.line(4), bed.opening(3)
    plane.skip(1000, 45)
    # Slots 3, 23 and 43 of those, and 4, 24 and 44.
    assert plane.counters()["departures_missed"] == 6
    plane.skip(1000, 10_000_000)
    assert plane.counters()["departures_missed"] == 6 + 1_000_000


def test_without_a_socket() -> None:
    with pytest.raises(MisuseError):
        PlainForwarding(ManualClock()).start([[]])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(
                ["next", "next", "next", "again", "damaged", "short", "long", "foreign", "noise"]
            ),
            st.integers(0, CELL_SIZE - 1),
        ),
        min_size=1,
        max_size=120,
    )
)
def test_sockets_change_nothing(arrivals: list[tuple[int, str, int]]) -> None:
    """The same datagrams, by socket or by hand, meet the same fates."""
    by_hand, server = make_forwarding("plain"), bound()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for name in ("plain", "native"):
        plane = make_forwarding(name)
        agents = [Agent(plane, server, ssrc, ssrc) for ssrc in (1, 2)]
        sent = [_datagram(agents[at].line, kind, place) for at, kind, place in arrivals]
        plane.start([[server]])
        for (at, _, _), datagram in zip(arrivals, sent, strict=True):
            agents[at].socket.sendto(datagram, agents[at].server)
        until(lambda: plane.counters()["datagrams_received"] == len(sent))  # noqa: B023
        plane.stop()
        if name == "plain":
            for agent in agents:
                number = by_hand.add_line(0, agent.line.up, 0.0)
                assert number is not None
                by_hand.settle(number, None, agent.line.address, advance=False)
            by_hand.receive(
                [
                    (datagram, agents[at].line.address)
                    for (at, _, _), datagram in zip(arrivals, sent, strict=True)
                ],
                0.0,
            )
        fates = {fate: plane.counters()[fate] for fate in face.FATES}
        assert fates == {fate: by_hand.counters()[fate] for fate in face.FATES}
        _all_open(agents)
    server.close()


def _datagram(line: FarEnd, kind: str, place: int) -> bytes:
    if kind == "again" and line.index:
        line.index -= 1
    cell = line.cell()[0]
    match kind:
        case "damaged":
            return cell[:place] + bytes((cell[place] ^ 1,)) + cell[place + 1 :]
        case "short":
            return cell[:place]
        case "long":
            return cell + bytes(place + 1)
        case "foreign":
            return cell[:8] + bytes(4) + cell[12:]
        case "noise":
            return bytes((place,)) * CELL_SIZE
    return cell


def _all_open(agents: list[Agent]) -> None:
    """Everything that came back opens, each once."""
    for agent in agents:
        agent.socket.setblocking(False)
        srtp = AeadSrtp(SessionKeys(agent.line.down.key, agent.line.down.salt))
        while True:
            try:
                cell = agent.socket.recv(2048)
            except BlockingIOError:
                break
            assert srtp.unprotect(cell) == bytes(132)
        agent.socket.close()
