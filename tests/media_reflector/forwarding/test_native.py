"""What only the native data plane has: workers in threads of their own, and a library that checks what it is given.

What it does with cells is in test_twin.py, and held to the plain one byte for byte in tests/property.
"""

import gc
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from relay.core import MisuseError
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import ControlReceived, DownKeys, UpKeys, pack_address
from relay.media_reflector.forwarding.native import NativeForwarding
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK, LinkType
from relay.rtp.srtp import AeadSrtp, SessionKeys
from tests.media_reflector.forwarding.planes import body, down_keys, make_forwarding, opened, seal, up_keys

PATIENCE = 10.0


@pytest.fixture
def native() -> Iterator[NativeForwarding]:
    forwarding = make_forwarding("native")
    assert isinstance(forwarding, NativeForwarding)
    yield forwarding
    forwarding.stop()


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(stack: ExitStack, host: str, *, shared: int | None = None) -> socket.socket:
    """A socket on loopback; with `shared` it shares that port (0: a free one) with others."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
    if shared is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((host, shared or 0))
    one.settimeout(PATIENCE)
    return one


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


class Agent:
    """The far end of a line, with a socket."""

    def __init__(
        self, stack: ExitStack, native: NativeForwarding, ssrc: int, host: str = "127.0.0.1"
    ) -> None:
        self.socket = bound(stack, host)
        self.up, self.down = up_keys(ssrc), down_keys(ssrc)
        number = native.add_line(ssrc, self.up, time.monotonic())
        assert number is not None
        self.number = number
        assert native.settle(number, self.down, pack_address(host, port_of(self.socket)), advance=False)
        self._index = 0

    def say(
        self, relay: socket.socket, link_type: LinkType = LinkType.END_TO_END, text: str = "hello"
    ) -> None:
        cell = seal(self.up, self._index, link_type, body(text))
        self._index += 1
        self.socket.sendto(cell, relay.getsockname()[:2])

    def next(self) -> tuple[LinkType, bytes]:
        return opened(self.down, self.socket.recv(CELL_SIZE + 1))

    def hear(self) -> bytes:
        """The next body that is not chaff."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            link_type, content = self.next()
            if link_type != LinkType.CHAFF:
                return content
        raise AssertionError("nothing but chaff")


def talk(native: NativeForwarding, relay: socket.socket, one: Agent, other: Agent) -> None:
    """A body each way."""
    assert native.cross(one.number, other.number)
    one.say(relay, text="there")
    assert other.hear() == body("there")
    other.say(relay, text="and back")
    assert one.hear() == body("and back")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_two_lines_talk_over_real_sockets(native: NativeForwarding, sockets: ExitStack, host: str) -> None:
    relay = bound(sockets, host)
    native.start([[relay]])
    talk(native, relay, Agent(sockets, native, 1, host), Agent(sockets, native, 2, host))


def test_a_worker_serves_both_families(native: NativeForwarding, sockets: ExitStack) -> None:
    ipv4, ipv6 = bound(sockets, "127.0.0.1"), bound(sockets, "::1")
    native.start([[ipv4, ipv6]])
    one, other = Agent(sockets, native, 1), Agent(sockets, native, 2, "::1")
    assert native.cross(one.number, other.number)
    one.say(ipv4, text="up")
    assert other.hear() == body("up")
    other.say(ipv6, text="down")
    assert one.hear() == body("down")


def test_one_socket_for_both_families_reaches_ipv4(native: NativeForwarding, sockets: ExitStack) -> None:
    relay = bound(sockets, "::")
    native.start([[relay]])
    one, other = Agent(sockets, native, 1), Agent(sockets, native, 2)
    assert native.cross(one.number, other.number)
    one.socket.sendto(seal(one.up, 0, LinkType.END_TO_END, body("x")), ("127.0.0.1", port_of(relay)))
    assert other.hear() == body("x")


def test_what_no_socket_reaches_is_counted(native: NativeForwarding, sockets: ExitStack) -> None:
    native.start([[bound(sockets, "127.0.0.1")]])
    Agent(sockets, native, 1, "::1")
    wait_for(native, "send_failed", 3)
    assert native.counters()["cells_sent"] >= 3


def test_any_worker_takes_any_lines_cells(native: NativeForwarding, sockets: ExitStack) -> None:
    first = bound(sockets, "127.0.0.1", shared=0)
    relays = [first, *(bound(sockets, "127.0.0.1", shared=port_of(first)) for _ in range(2))]
    native.start([[relay] for relay in relays])
    agents = [Agent(sockets, native, ssrc) for ssrc in range(1, 13)]
    for one, other in zip(agents[::2], agents[1::2], strict=True):
        talk(native, first, one, other)
    # Each line's departures belong to one worker alone.
    before = time.monotonic()
    for _ in range(25):
        for agent in agents:
            agent.next()
    assert time.monotonic() - before > 10 * TICK


def test_one_cell_leaves_in_each_tick_and_no_more(native: NativeForwarding, sockets: ExitStack) -> None:
    native.start([[bound(sockets, "127.0.0.1")]])
    agent = Agent(sockets, native, 7)
    agent.next()
    began = time.monotonic()
    for _ in range(30):
        agent.next()
    # However long this machine may stand still, what was missed is not made up for.
    assert time.monotonic() - began > 28 * TICK
    counters = native.counters()
    assert counters["cells_sent"] == counters["chaff_sent"] >= 31


def test_the_descriptor_says_that_upcalls_wait(native: NativeForwarding, sockets: ExitStack) -> None:
    relay = bound(sockets, "127.0.0.1")
    agent = Agent(sockets, native, 1)
    descriptor = native.start([[relay]])
    assert not readable(descriptor, 0)
    for text in ("one", "two"):
        # One upcall of a line in a tick.
        time.sleep(2 * TICK)
        agent.say(relay, LinkType.CONTROL, text)
        assert readable(descriptor)
        os.read(descriptor, 8)
        assert not readable(descriptor, 0)
        assert native.upcalls() == [ControlReceived(agent.number, body(text))]
    assert native.upcalls() == []


def test_single_datagrams_leave(native: NativeForwarding, sockets: ExitStack) -> None:
    native.start([[bound(sockets, "127.0.0.1")]])
    far = bound(sockets, "127.0.0.1")
    for slot in range(face.SLOTS):
        assert native.send(slot, bytes((slot,)) * CELL_SIZE, pack_address("127.0.0.1", port_of(far)))
    assert {far.recv(CELL_SIZE + 1) for _ in range(face.SLOTS)} == {
        bytes((slot,)) * CELL_SIZE for slot in range(face.SLOTS)
    }
    wait_for(native, "singles_sent", face.SLOTS)


def test_stops_and_starts_again(native: NativeForwarding, sockets: ExitStack) -> None:
    relay = bound(sockets, "127.0.0.1")
    agent = Agent(sockets, native, 1)
    for _ in range(2):
        native.start([[relay]])
        with pytest.raises(MisuseError, match="already"):
            native.start([[relay]])
        agent.next()
        native.stop()
        native.stop()
        sent = native.counters()["cells_sent"]
        time.sleep(3 * TICK)
        assert native.counters()["cells_sent"] == sent
    assert relay.fileno() >= 0
    # What left is in order, although it stopped in between.
    receiver = AeadSrtp(SessionKeys(agent.down.key, agent.down.salt))
    agent.socket.setblocking(False)
    while True:
        try:
            assert isinstance(receiver.unprotect(agent.socket.recv(CELL_SIZE)), bytes)
        except BlockingIOError:
            break


def test_ends_with_whoever_forgets_to_stop_it(sockets: ExitStack) -> None:
    forwarding = make_forwarding("native")
    before = threads()
    forwarding.start([[bound(sockets, "127.0.0.1")]])
    assert len(threads()) == len(before) + 1
    del forwarding
    gc.collect()
    assert threads() == before


def test_a_worker_needs_a_socket(native: NativeForwarding) -> None:
    with pytest.raises(MisuseError):
        native.start([])
    with pytest.raises(MisuseError):
        native.start([[]])


def test_calls_from_many_threads_while_cells_flow(native: NativeForwarding, sockets: ExitStack) -> None:
    first = bound(sockets, "127.0.0.1", shared=0)
    native.start([[first], [bound(sockets, "127.0.0.1", shared=port_of(first))]])
    one, other = Agent(sockets, native, 1), Agent(sockets, native, 2)
    assert native.cross(one.number, other.number)
    failures: list[BaseException] = []

    def churn(base: int) -> None:
        try:
            for ssrc in range(base, base + 400):
                number = native.add_line(ssrc, up_keys(ssrc), time.monotonic())
                assert number is not None
                assert native.prepare(number, up_keys(ssrc + 50_000))
                assert native.settle(number, down_keys(ssrc), pack_address("127.0.0.1", 9), advance=True)
                assert native.add_line(0, up_keys(ssrc + 50_000), time.monotonic()) is None
                native.control(number, bytes(BODY_SIZE))
                native.permit(ssrc.to_bytes(16))
                native.forbid(ssrc.to_bytes(16))
                native.upcalls()
                assert native.remove(number)
                assert not native.remove(number)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=churn, args=(base,)) for base in (10_000, 20_000, 30_000)]
    for worker in workers:
        worker.start()
    heard = 0
    while any(worker.is_alive() for worker in workers) or heard < 3:
        one.say(first, text="still here")
        assert other.hear() == body("still here")
        heard += 1
    assert not failures
    assert native.lines == 2


def test_garbage_delays_and_loses_nothing(native: NativeForwarding, sockets: ExitStack) -> None:
    relay = bound(sockets, "127.0.0.1")
    native.check_keys([], [bytes((key,)) * 16 for key in range(face.MAX_CHECK_KEYS)])
    native.start([[relay]])
    one, other = Agent(sockets, native, 1), Agent(sockets, native, 2)
    assert native.cross(one.number, other.number)
    stop = threading.Event()

    def flood() -> None:
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with far:
            while not stop.is_set():
                for _ in range(20):
                    far.sendto(b"\x80\x6f" + os.urandom(158), relay.getsockname())
                time.sleep(0.001)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for n in range(50):
            one.say(relay, text=str(n))
            assert other.hear() == body(str(n))
    finally:
        stop.set()
        flooding.join()
    counters = native.counters()
    assert counters["unknown_ssrc"] > 500
    assert counters["datagrams_received"] == sum(counters[fate] for fate in face.FATES)


def test_memory_grows_little_with_lines(native: NativeForwarding) -> None:
    before = resident()
    for ssrc in range(20_000):
        number = native.add_line(ssrc, UpKeys(ssrc, bytes(16), bytes(12)), 0.0)
        assert number is not None
        native.prepare(number, UpKeys(ssrc + 20_000, bytes(16), bytes(12)))
        native.settle(number, DownKeys(ssrc, bytes(16), bytes(12), 0, 0), bytes(18), advance=False)
    assert (resident() - before) / 20_000 < 2048


def test_places_are_used_again(native: NativeForwarding) -> None:
    for ssrc in range(2000):
        number = native.add_line(0, up_keys(ssrc), 0.0)
        assert number is not None
        native.remove(number)
    before = resident()
    for ssrc in range(20_000):
        number = native.add_line(0, UpKeys(ssrc, bytes(16), bytes(12)), 0.0)
        assert number is not None
        native.remove(number)
    assert resident() - before < 1 << 20


def readable(descriptor: int, seconds: float = PATIENCE) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def wait_for(native: NativeForwarding, counter: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while native.counters()[counter] < count:
        assert time.monotonic() < deadline, f"{counter} never came to {count}"
        time.sleep(TICK)


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
