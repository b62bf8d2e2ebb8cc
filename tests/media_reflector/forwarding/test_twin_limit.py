"""How much anybody may make a data plane hand up: on both implementations."""

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    ControlReceived,
    Elsewhere,
)
from relay.rtp.cell import TICK, LinkType
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    Bed,
    address,
    body,
    first_message,
    ticket,
)


class TestWhatALineCauses:
    def test_once_in_a_tick(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive(*(line.cell(LinkType.CONTROL) for _ in range(3)), (line.cell()[0], ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"line_limited": 3}

    def test_so_many_lines_in_a_tick(self, bed: Bed) -> None:
        """Those that open, and those that are open, whatever the others do."""
        opening = [bed.opening() for _ in range(face.OPENING_PER_TICK + 5)]
        lines = [bed.line() for _ in range(face.OPEN_PER_TICK + 7)]
        bed.arrive(*(line.cell(LinkType.CONTROL) for line in opening))
        bed.arrive(*(line.cell(LinkType.CONTROL) for line in lines))
        kinds = [type(upcall) for upcall in bed.forwarding.upcalls()]
        assert kinds == [Elsewhere] * face.OPENING_PER_TICK + [ControlReceived] * face.OPEN_PER_TICK
        assert bed.counted() == {"line_limited": 12}

    def test_so_many_lines_of_one_address_in_a_tick(self, bed: Bed) -> None:
        """A trunk has thousands, whose far end may send from wherever it likes; and nobody uses up what is another's by
        claiming to send from there."""
        trunk, quiet = [bed.line() for _ in range(50)], bed.line()
        for line in trunk:
            bed.forwarding.settle(line.number, None, ELSEWHERE, advance=False)
        for claimed in (ELSEWHERE, quiet.address, address(9)):
            bed.now += 2 * TICK
            bed.arrive(*((line.cell(LinkType.CONTROL)[0], claimed) for line in trunk))
            bed.arrive(quiet.cell(LinkType.CONTROL))
            upcalls = bed.forwarding.upcalls()
            assert len(upcalls) == face.LINES_PER_ADDRESS + 1
            assert upcalls[-1] == ControlReceived(quiet.number, body(""))
        assert bed.counted() == {"line_limited": 3 * (50 - face.LINES_PER_ADDRESS)}

    def test_a_talkative_line_is_heard_while_few_are(self, bed: Bed) -> None:
        line = bed.line()
        for _ in range(100):
            bed.now += 2 * TICK
            bed.arrive(line.cell(LinkType.CONTROL))
        assert len(bed.forwarding.upcalls()) == 100

    def test_who_repeats_leaves_room_for_who_speaks_up_once(self, bed: Bed) -> None:
        lines = [bed.line() for _ in range(200)]
        quiet = bed.line()
        for _ in range(20):
            bed.now += 2 * TICK
            bed.arrive(*(line.cell(LinkType.CONTROL) for line in lines))
            bed.forwarding.upcalls()
        bed.now += 2 * TICK
        bed.arrive(*(line.cell(LinkType.CONTROL) for line in [*lines, quiet]))
        assert ControlReceived(quiet.number, body("")) in bed.forwarding.upcalls()


class TestWorkersWhoseBatchesOverlap:
    """Each says when its own began: on both sides of a tick's edge, in turns."""

    def test_first_messages(self, bed: Bed) -> None:
        edge = bed.now
        for number in range(200):
            bed.forwarding.permit(ticket(number))
        for number in range(200):
            bed.now = edge - TICK / 2 if number % 2 == 0 else edge
            bed.arrive((first_message(ticket(number)), ELSEWHERE))
        # The very first came before the edge.
        assert len(bed.forwarding.upcalls()) == 1 + face.PERMITTED_PER_TICK
        assert bed.counted()["stranger_limited"] == 200 - 1 - face.PERMITTED_PER_TICK
        assert "upcalls_full" not in bed.counted()

    def test_lines(self, bed: Bed) -> None:
        edge = bed.now
        lines = [bed.line() for _ in range(40)]
        for line in lines:
            bed.forwarding.settle(line.number, None, ELSEWHERE, advance=False)
        for number, line in enumerate(lines):
            bed.now = edge - TICK / 2 if number % 2 else edge
            bed.arrive((line.cell(LinkType.CONTROL)[0], ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == face.LINES_PER_ADDRESS

    def test_who_repeats_is_known_across_the_edge_of_a_period(self, bed: Bed) -> None:
        edge = (1000 * face.PERIOD_TICKS + 0.5) * TICK
        repeaters = [bed.line() for _ in range(face.OPEN_PER_TICK)]
        for ago in range(face.EASE, 0, -1):
            bed.now = edge - 2 * ago * TICK
            bed.arrive(*(line.cell(LinkType.CONTROL) for line in repeaters))
            assert len(bed.forwarding.upcalls()) == face.OPEN_PER_TICK
        other = bed.line()
        for bed.now in (edge, edge - TICK, edge):
            bed.arrive(other.cell(LinkType.CONTROL))
        bed.now = edge + TICK
        bed.arrive(*(line.cell(LinkType.CONTROL) for line in repeaters))
        assert len(bed.forwarding.upcalls()) == 1 + face.OPEN_PER_TICK // 2
