"""What a line looks like: handshake, idle and keyed cells, by their bytes.

Thresholds: those of uniformity.py.  A leaky control, whose counter is bare and whose padding is zeros, must fail them.
Handshake cells: test_opening.py.
"""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.core import ManualClock, SeededEntropy
from relay.media_reflector.forwarding.face import UpKeys, pack_address
from relay.media_reflector.forwarding.twin import PlainForwarding
from relay.media_reflector.handshake import MESSAGE_SIZE
from relay.media_reflector.link import CellSender, cell_timestamp, is_cell, opener
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, CONTENT_SIZE, RTP_HEADER_SIZE, TIMESTAMP_STEP, LinkType
from relay.rtp.content import ContentPacker
from relay.rtp.end_to_end import EndToEndSealer
from relay.rtp.srtp import SrtpDrop
from tests.media_reflector.uniformity import LIMIT, POSITION_LIMIT, at_position, chi_square

World = Any


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


@given(st.integers(0, 3), st.integers(0, 5))
def test_the_data_plane_goes_on_where_a_sender_stopped(before_wrap: int, more: int) -> None:
    """Also over the edge at which sequence numbers start anew."""
    entropy, keys = SeededEntropy("hand-over"), UpKeys(9, bytes(range(16)), bytes(range(12)))
    sender, ear = CellSender(9, entropy, keys), opener(keys)
    sender._sequence_number = 0x10000 - 1 - before_wrap
    # A receiver that starts near the edge takes it for the first round.
    cells = [sender.seal(LinkType.CHAFF, bytes(BODY_SIZE)) for _ in range(1 + more)]
    plane, home = PlainForwarding(ManualClock()), pack_address("127.0.0.1", 9)
    line = plane.add_line(0, UpKeys(1, bytes(16), bytes(12)), 0.0)
    assert line is not None
    assert plane.settle(line, sender.continued(keys), home, advance=False)
    cells += [plane.slot(20 * number, 0.0)[0][0] for number in range(1, 6)]
    payloads = [ear.unprotect(cell) for cell in cells]
    assert not any(isinstance(payload, SrtpDrop) for payload in payloads)
    stamps = [cell_timestamp(cell) for cell in cells]
    assert all((b - a) & 0xFFFFFFFF == TIMESTAMP_STEP for a, b in pairwise(stamps))
    assert len({cell[2:4] for cell in cells}) == len(cells)


@given(st.binary(max_size=170))
def test_only_cells_are_cells(datagram: bytes) -> None:
    assert is_cell(datagram) == (len(datagram) == CELL_SIZE and datagram[:2] == b"\x80\x6f")


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
        assert chi_square(b"".join(bodies)) < LIMIT
        assert max(at_position(bodies, position) for position in range(BODY_SIZE)) < POSITION_LIMIT


def test_the_leaky_control_is_caught() -> None:
    def leaky(number: int, talking: bool) -> bytes:
        content = SeededEntropy(number).token(84) if talking else b""
        return number.to_bytes(4) + content.ljust(CONTENT_SIZE + 16, b"\0")

    for talking in (True, False):
        bodies = [leaky(number, talking) for number in range(2000)]
        assert chi_square(b"".join(bodies)) > 10 * LIMIT
        assert at_position(bodies, 0) > POSITION_LIMIT


def test_on_the_wire_the_cells_of_a_talking_and_of_an_idle_line_look_alike(world: World) -> None:
    alice, bob = world.crossed_pair()
    carol = world.agent("carol", slot=15)
    sealer, packer = EndToEndSealer(bytes(32)), ContentPacker()
    alice.speak = lambda: sealer.seal(packer.next())
    world.run(40.0)
    for cells in (alice.sent, bob.received, carol.sent, carol.received):
        recent = [cell for _, cell in cells[-1900:]]
        assert {len(cell) for cell in recent} == {CELL_SIZE}
        assert chi_square(b"".join(cell[RTP_HEADER_SIZE:] for cell in recent)) < LIMIT
