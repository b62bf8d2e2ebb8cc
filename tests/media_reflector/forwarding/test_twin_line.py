"""Which cells a data plane opens, under which epoch: on both implementations."""

import pytest

from relay.rtp.cell import LinkType
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    SILENCE,
    Bed,
    body,
    down_keys,
    opened,
    seal,
    speech,
    up_keys,
)


class TestOpening:
    def test_a_cell_opens_once(self, bed: Bed) -> None:
        line = bed.line()
        cell = line.cell()
        bed.arrive(cell, cell)
        assert bed.counted() == {"replayed": 1}
        assert bed.forwarding.counters()["cells_received"] == 1

    def test_in_any_order_within_the_window(self, bed: Bed) -> None:
        line = bed.line()
        cells = [line.cell() for _ in range(128)]
        bed.arrive(*reversed(cells))
        bed.arrive(*cells)
        assert bed.counted() == {"replayed": 128}

    def test_not_behind_the_window(self, bed: Bed) -> None:
        line = bed.line()
        cells = [line.cell() for _ in range(130)]
        bed.arrive(cells[129], cells[2], cells[1], cells[0])
        assert bed.counted() == {"replayed": 2}

    @pytest.mark.parametrize("at", [2, 5, 12, 13, 100, 144, 159])
    def test_a_flipped_bit(self, bed: Bed, at: int) -> None:
        line = bed.line()
        cell, source = line.cell()
        bed.arrive((cell[:at] + bytes((cell[at] ^ 1,)) + cell[at + 1 :], source))
        assert bed.counted() == {"not_authentic": 1}

    def test_a_forged_cell_does_not_move_the_window(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive(line.cell())
        far = seal(up_keys(5), 30_000, 0, body(""))
        bed.arrive((far[:8] + line.up.ssrc.to_bytes(4) + far[12:], line.address), line.cell())
        assert bed.counted() == {"not_authentic": 1}

    def test_the_sequence_number_wraps(self, bed: Bed) -> None:
        one, other = bed.pair()
        one.index = 0xFFFE
        for text in "abcd":
            bed.arrive(one.speech(text))
            assert bed.leave(other) == speech(text)
        assert bed.counted() == {}

    def test_late_over_a_wrap(self, bed: Bed) -> None:
        line = bed.line()
        line.index = 0xFFFE
        cells = [line.cell() for _ in range(4)]
        bed.arrive(cells[0], cells[3], cells[1], cells[2], cells[1])
        assert bed.counted() == {"replayed": 1}

    def test_after_many_wraps(self, bed: Bed) -> None:
        line = bed.line()
        for _ in range(10):
            bed.arrive(line.cell())
            line.index += 0x7000
        assert line.index > 4 << 16
        assert bed.counted() == {}

    def test_before_the_first_of_all(self, bed: Bed) -> None:
        """RFC 3711 section 3.3.1 would place it in a rollover before the first."""
        line = bed.line()
        bed.arrive(line.cell(), (seal(line.up, 0xFFF0, 0, body("")), line.address))
        assert bed.counted() == {"replayed": 1}

    @pytest.mark.parametrize(("highest", "counted"), [(0x7FFF, {}), (0x8000, {"replayed": 1})])
    def test_half_the_numbers_away_is_the_same_rollover(
        self, bed: Bed, highest: int, counted: dict[str, int]
    ) -> None:
        line = bed.line()
        bed.arrive((seal(line.up, highest, 0, body("")), line.address))
        bed.arrive((seal(line.up, highest ^ 0x8000, 0, body("")), line.address))
        assert bed.counted() == counted

    def test_a_type_that_is_none(self, bed: Bed) -> None:
        one, _ = bed.pair()
        bed.arrive(one.cell(3), one.cell(255))
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"unknown_type": 2}


class TestEpochs:
    def test_a_taken_ssrc(self, bed: Bed) -> None:
        one, other = bed.line(), bed.line()
        assert bed.forwarding.add_line(3, one.up, bed.now) is None
        assert not bed.forwarding.prepare(one.number, other.up)
        assert not bed.forwarding.prepare(one.number, one.up)
        assert bed.forwarding.prepare(one.number, up_keys(7))
        assert not bed.forwarding.prepare(other.number, up_keys(7))
        assert bed.forwarding.add_line(3, up_keys(7), bed.now) is None
        assert bed.forwarding.lines == 2

    def test_a_following_one_is_replaced(self, bed: Bed) -> None:
        line = bed.line()
        bed.forwarding.prepare(line.number, up_keys(7))
        assert bed.forwarding.prepare(line.number, up_keys(8))
        bed.arrive(
            (seal(up_keys(7), 0, 0, body("")), line.address), (seal(up_keys(8), 0, 0, body("")), line.address)
        )
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"unknown_ssrc": 1}

    def test_a_following_one_is_prepared_anew(self, bed: Bed) -> None:
        """The same SSRC with other keys, as after a rekey: its window starts anew too."""
        line = bed.line()
        bed.forwarding.prepare(line.number, up_keys(7))
        bed.arrive((seal(up_keys(7), 500, 0, body("")), line.address))
        assert bed.forwarding.prepare(line.number, up_keys(7))
        bed.arrive((seal(up_keys(7), 0, 0, body("")), line.address))
        assert bed.counted() == {"line_limited": 1}

    def test_a_refused_one_leaves_the_one_before(self, bed: Bed) -> None:
        one, other = bed.line(), bed.line()
        bed.forwarding.prepare(one.number, up_keys(7))
        assert not bed.forwarding.prepare(one.number, other.up)
        bed.arrive((seal(up_keys(7), 0, 0, body("")), one.address))
        assert len(bed.forwarding.upcalls()) == 1

    def test_none_is_opened_no_more(self, bed: Bed) -> None:
        line = bed.line()
        bed.forwarding.prepare(line.number, up_keys(7))
        assert bed.forwarding.prepare(line.number, None)
        assert bed.forwarding.prepare(line.number, None)
        bed.arrive((seal(up_keys(7), 0, 0, body("")), line.address))
        assert bed.counted() == {"unknown_ssrc": 1}

    def test_an_advance(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.forwarding.prepare(one.number, up_keys(7))
        bed.arrive((seal(up_keys(7), 0, LinkType.END_TO_END, body("one")), ELSEWHERE))
        bed.forwarding.upcalls()
        assert bed.forwarding.settle(one.number, down_keys(70), ELSEWHERE, advance=True)
        bed.arrive(one.speech("the old epoch is gone"))
        # The window of the epoch goes on.
        bed.arrive((seal(up_keys(7), 0, LinkType.END_TO_END, body("one")), ELSEWHERE))
        bed.arrive((seal(up_keys(7), 1, LinkType.END_TO_END, body("two")), ELSEWHERE))
        assert [bed.leave(other) for _ in range(3)] == [speech("one"), speech("two"), SILENCE]
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"unknown_ssrc": 1, "replayed": 1}
        ((cell, destination),) = bed.forwarding.slot(3, bed.now)
        assert destination == ELSEWHERE
        assert opened(down_keys(70), cell) == SILENCE

    def test_an_advance_to_nothing(self, bed: Bed) -> None:
        line = bed.line()
        assert not bed.forwarding.settle(line.number, down_keys(70), ELSEWHERE, advance=True)
        assert bed.leave(line) == SILENCE

    def test_an_ssrc_is_free_once_its_epoch_is_over(self, bed: Bed) -> None:
        line = bed.line()
        bed.forwarding.prepare(line.number, up_keys(7))
        bed.forwarding.settle(line.number, None, line.address, advance=True)
        assert bed.forwarding.add_line(3, line.up, bed.now) is not None
