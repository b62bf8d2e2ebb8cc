"""The flood itself: what it throws, from where, and that it cannot be aimed at anybody else or go on for ever."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.flood.generator import KINDS, Flood, Sent, build
from bench.flood.kernel import dropped_datagrams, free_port
from bench.flood.material import OwnLine, sent_cells, write_material
from relay.core import TransportUnavailable
from relay.lab.load.generator import LoadGenerator
from relay.lab.load.lines import LOOPBACK, LoadLine, sealed
from relay.media_reflector.forwarding.face import UpKeys
from relay.media_reflector.link import opener
from relay.rtp.cell import CELL_SIZE, LinkType
from relay.rtp.srtp import SrtpDrop
from tests.native_code import compiler


@pytest.fixture(autouse=True)
def _needs_the_compiler() -> None:
    compiler()


OWN = OwnLine(UpKeys(77, bytes(range(16)), bytes(range(12))), 65_530)
SEEN = [
    bytes([0x80, 111]) + index.to_bytes(2) + bytes(4) + index.to_bytes(4) + bytes(148) for index in range(5)
]
FIRST = bytes([0x80, 111]) + bytes(range(2, CELL_SIZE))
RATE, SECONDS = 20_000, 0.1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("flood") / "flood"
    build(output)
    return output


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        made.bind(("127.0.0.1", 0))
        made.settimeout(0.2)
        yield made


def flooded(
    program: Path, target: socket.socket, directory: Path, *kinds: str
) -> tuple[Sent, list[tuple[bytes, tuple[str, int]]]]:
    """What one flood said that it sent, and what of it came."""
    material = directory / "material"
    write_material(material, cells=SEEN, first=[FIRST], own=[OWN])
    port = target.getsockname()[1]
    arrived = []
    with Flood(
        program,
        port,
        free_port(),
        rate=RATE,
        seconds=SECONDS,
        seed=3,
        material=material,
        kinds=kinds,
        cores=frozenset({0}),
    ) as flood:
        over = False
        while not over:
            over = flood.over
            with contextlib.suppress(TimeoutError):
                while True:
                    arrived.append(target.recvfrom(1 << 16))
        return flood.wait(), arrived


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_sent_comes(program: Path, target: socket.socket, tmp_path: Path, kind: str) -> None:
    sent, arrived = flooded(program, target, tmp_path, kind)
    assert sent.failed == 0
    assert sent.sent == sent.by[kind] == pytest.approx(RATE * SECONDS - sent.skipped, rel=0.1)
    assert len(arrived) + dropped_datagrams(target.getsockname()[1]) == sent.sent
    assert {host.split(".")[0] for _, (host, _) in arrived} == {"127"}
    assert len({port for _, (_, port) in arrived}) == 1
    sizes = {len(datagram) for datagram, _ in arrived}
    assert sizes == {CELL_SIZE} if kind != "garbage" else len(sizes) > 10


def test_sources_are_forged(program: Path, target: socket.socket, tmp_path: Path) -> None:
    _, arrived = flooded(program, target, tmp_path, "shaped")
    assert len({host for _, (host, _) in arrived}) >= min(100, len(arrived) / 2) > 0


def test_what_was_seen_comes_again(program: Path, target: socket.socket, tmp_path: Path) -> None:
    _, replayed = flooded(program, target, tmp_path, "replayed")
    assert {datagram for datagram, _ in replayed} == set(SEEN)
    _, repeated = flooded(program, target, tmp_path, "repeated")
    assert {datagram for datagram, _ in repeated} == {FIRST}


def test_a_damaged_first_message_keeps_its_number(
    program: Path, target: socket.socket, tmp_path: Path
) -> None:
    _, arrived = flooded(program, target, tmp_path, "half")
    assert {datagram[12:28] for datagram, _ in arrived} == {FIRST[12:28]}
    assert all(datagram[28:] != FIRST[28:] for datagram, _ in arrived)
    assert len({datagram[8:12] for datagram, _ in arrived}) >= min(100, len(arrived) / 2) > 0


@pytest.mark.parametrize("kind", ["wandering", "talkative"])
def test_own_lines_are_authentic(program: Path, target: socket.socket, tmp_path: Path, kind: str) -> None:
    """Every cell opens, across the wrap of the sequence number, and none comes twice."""
    _, arrived = flooded(program, target, tmp_path, kind)
    receiver = opener(OWN.up)
    payloads = [receiver.unprotect(datagram) for datagram, _ in arrived]
    assert payloads
    assert not [payload for payload in payloads if isinstance(payload, SrtpDrop)]
    wanted = LinkType.CHAFF if kind == "wandering" else LinkType.CONTROL
    assert {bytes(payload)[0] for payload in payloads if not isinstance(payload, SrtpDrop)} == {wanted}


def test_old_captures_are_what_the_load_sends(target: socket.socket) -> None:
    """Worked out from the seed, byte for byte."""
    lines = [LoadLine.of(index, 9) for index in range(2)]
    agents = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    agents.bind(("0.0.0.0", 0))
    array = sealed(lines, 9, destination=(LOOPBACK, target.getsockname()[1]))
    with LoadGenerator(agents, array) as load:
        now = time.monotonic()
        load.run(now, now + 0.1, now + 0.1)
    first = {target.recv(CELL_SIZE + 1) for _ in range(4)}
    assert first <= {cell for line in lines for cell in sent_cells(line, 8)}


@pytest.mark.parametrize(
    "words",
    [
        ("9", "9", "200000", "121", "1"),
        ("9", "9", "3000000", "1", "1"),
        ("9", "9", "0", "1", "1"),
        ("127.0.0.1:9", "9", "1", "1", "1"),
    ],
    ids=["too long", "too much", "nothing", "an address"],
)
def test_bounds(program: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Time and rate are bounded, and there is no way to name a destination other than a port of this machine."""
    material = tmp_path / "material"
    write_material(material, cells=SEEN)
    done = subprocess.run([program, *words, material, "shaped"], capture_output=True, check=False, timeout=10)
    assert (done.returncode, done.stdout) == (2, b"")


def test_material_that_is_missing(program: Path, tmp_path: Path) -> None:
    material = tmp_path / "material"
    write_material(material)
    flood = Flood(
        program, 9, 0, rate=100, seconds=1, seed=1, material=material, kinds=("half",), cores=frozenset({0})
    )
    with flood, pytest.raises(TransportUnavailable, match="material"):
        flood.wait()
