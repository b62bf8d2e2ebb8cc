"""What a line looks like: handshake, idle and keyed cells, by their bytes.

Threshold: chi-square of byte frequencies against uniform, 255 degrees of freedom, at most 400 (p about 1e-8),
over at least 200,000 bytes.  A leaky control, whose counter is bare and whose padding is zeros, must fail it.
"""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.media_reflector.handshake import MESSAGE_SIZE
from relay.media_reflector.link import CellSender, cell_timestamp, is_cell
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, CONTENT_SIZE, RTP_HEADER_SIZE, TIMESTAMP_STEP
from relay.rtp.content import ContentPacker
from relay.rtp.end_to_end import EndToEndSealer

World = Any
LIMIT = 400.0


def test_a_sender_knows_the_timestamps_of_its_latest_cells_and_no_others() -> None:
    sender = CellSender(7, SeededEntropy("sender"))
    cells = [sender.handshake(bytes(MESSAGE_SIZE)) for _ in range(700)]
    stamps = [cell_timestamp(cell) for cell in cells]
    assert all(sender.sent(stamp) for stamp in stamps[-500:])
    assert not any(sender.sent(stamp) for stamp in stamps[:200])
    assert not sender.sent((stamps[-1] + TIMESTAMP_STEP) & 0xFFFFFFFF)
    assert not sender.sent((stamps[-1] + 1) & 0xFFFFFFFF)
    fresh = CellSender(7, SeededEntropy("sender"))
    assert not any(fresh.sent(stamp) for stamp in stamps)


def test_sequence_numbers_start_in_the_lower_half() -> None:
    entropy = SeededEntropy("starts")
    starts = [int.from_bytes(CellSender(7, entropy).handshake(b"")[2:4]) for _ in range(300)]
    assert max(starts) < 1 << 15
    assert len(set(starts)) > 290


@given(st.binary(max_size=170))
def test_only_cells_are_cells(datagram: bytes) -> None:
    assert is_cell(datagram) == (len(datagram) == CELL_SIZE and datagram[:2] == b"\x80\x6f")


def _chi_square(data: bytes) -> float:
    assert len(data) >= 200_000
    counts = Counter(data)
    expected = len(data) / 256
    return sum((counts[value] - expected) ** 2 / expected for value in range(256))


def _first_bytes(cells: list[bytes], position: int) -> float:
    """Chi-square of one position over many cells, in 16 classes (15 degrees of freedom)."""
    counts = Counter(cell[position] >> 4 for cell in cells)
    expected = len(cells) / 16
    return sum((counts[value] - expected) ** 2 / expected for value in range(16))


def _keyed_bodies(count: int, *, talking: bool) -> list[bytes]:
    packer, sealer = ContentPacker(), EndToEndSealer(bytes(range(32)))
    bodies = []
    for number in range(count):
        if talking:
            packer.offer_voice(bytes([number & 0xFF]) * 84)
        bodies.append(sealer.seal(packer.next()))
    return bodies


def test_keyed_speech_keyed_silence_and_idle_bodies_look_alike() -> None:
    entropy = SeededEntropy("idle")
    speech = _keyed_bodies(2000, talking=True)
    silence = _keyed_bodies(2000, talking=False)
    idle = [entropy.token(BODY_SIZE) for _ in range(2000)]
    for bodies in (speech, silence, idle):
        assert {len(body) for body in bodies} == {BODY_SIZE}
        assert len(set(bodies)) == len(bodies)
        assert _chi_square(b"".join(bodies)) < LIMIT
        assert max(_first_bytes(bodies, position) for position in range(BODY_SIZE)) < 60


def test_the_leaky_control_is_caught() -> None:
    def leaky(number: int, talking: bool) -> bytes:
        content = SeededEntropy(number).token(84) if talking else b""
        return number.to_bytes(4) + content.ljust(CONTENT_SIZE + 16, b"\0")

    for talking in (True, False):
        bodies = [leaky(number, talking) for number in range(2000)]
        assert _chi_square(b"".join(bodies)) > 10 * LIMIT
        assert _first_bytes(bodies, 0) > 60


def test_on_the_wire_the_cells_of_a_talking_and_of_an_idle_line_look_alike(world: World) -> None:
    alice, bob = world.crossed_pair()
    carol = world.agent("carol", slot=15)
    sealer, packer = EndToEndSealer(bytes(32)), ContentPacker()
    alice.speak = lambda: sealer.seal(packer.next())
    world.run(40.0)
    for cells in (alice.sent, bob.received, carol.sent, carol.received):
        recent = [cell for _, cell in cells[-1900:]]
        assert {len(cell) for cell in recent} == {CELL_SIZE}
        assert _chi_square(b"".join(cell[RTP_HEADER_SIZE:] for cell in recent)) < LIMIT


def test_handshake_cells_are_as_random_as_the_rest(make_world: type) -> None:
    world: World = make_world(capacity=1000)
    first, answers = [], []
    for number in range(600):
        agent = world.agent(f"agent {number}")
        cell = agent.line.next_cell(world.now)
        world.reflector.receive(cell, agent.name, world.now)
        agent.silent = True
        first.append(cell)
    for _ in range(25):
        world.now += 0.001
        answers += [cell for cell, _ in world.reflector.tick(world.now)]
    assert len(answers) == 600
    for cells in (first, answers):
        assert {len(cell) for cell in cells} == {CELL_SIZE}
        assert {cell[:2] for cell in cells} == {b"\x80\x6f"}
        # A bare X25519 key would have its top bit clear: the last byte of its 32 never above 127.
        assert max(_first_bytes(cells, position) for position in range(RTP_HEADER_SIZE, CELL_SIZE)) < 60
