"""How much anybody may make a data plane hand up: on both implementations."""

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    ControlReceived,
)
from relay.rtp.cell import TICK, LinkType
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    Bed,
    body,
)


class TestWhatALineCauses:
    def test_once_in_a_tick(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive(*(line.cell(LinkType.CONTROL) for _ in range(3)), (line.cell()[0], ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"line_limited": 3}

    def test_so_many_lines_in_a_tick(self, bed: Bed) -> None:
        lines = [bed.line() for _ in range(face.LINES_PER_TICK + 5)]
        bed.arrive(*(line.cell(LinkType.CONTROL) for line in lines))
        assert len(bed.forwarding.upcalls()) == face.LINES_PER_TICK
        assert bed.counted() == {"line_limited": 5}

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
