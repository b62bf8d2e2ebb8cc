"""What a data plane does, one behaviour a test, on both implementations: the plain one says what is right."""

import pytest

from relay.core import MisuseError
from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    ControlReceived,
    Elsewhere,
    Expired,
)
from relay.rtp.cell import BODY_SIZE, CELL_SIZE, TICK, LinkType
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    SILENCE,
    Bed,
    address,
    body,
    down_keys,
    opened,
    seal,
    speech,
    up_keys,
)


class TestWhatIsNoCell:
    @pytest.mark.parametrize("size", [0, 1, 11, 12, CELL_SIZE - 1, CELL_SIZE + 1, 2000])
    def test_another_size(self, bed: Bed, size: int) -> None:
        line = bed.line()
        bed.arrive(((line.cell()[0] * 20)[:size], line.address))
        assert bed.counted() == {"wrong_size": 1}

    @pytest.mark.parametrize("start", [b"\x90\x6f", b"\x80\xef", b"\x80\x60", b"\0\0"])
    def test_another_header(self, bed: Bed, start: bytes) -> None:
        line = bed.line()
        bed.arrive((start + line.cell()[0][2:], line.address))
        assert bed.counted() == {"not_a_cell": 1}

    def test_an_ssrc_that_nobody_has(self, bed: Bed) -> None:
        bed.line()
        bed.arrive((seal(up_keys(5), 0, 0, body("")), ELSEWHERE))
        assert bed.counted() == {"unknown_ssrc": 1}

    def test_every_datagram_counts_once(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive((b"", ELSEWHERE), line.cell(), (bytes(CELL_SIZE), ELSEWHERE))
        assert bed.forwarding.counters()["datagrams_received"] == 3


class TestForwarding:
    def test_a_body_leaves_in_the_other_lines_slot(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech("hello"))
        assert bed.leave(one) == SILENCE
        assert bed.leave(other) == speech("hello")
        assert bed.leave(other) == SILENCE
        assert bed.forwarding.counters()["bodies_sent"] == 1

    def test_in_the_order_of_arrival(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(*[one.speech(text) for text in "abc"])
        assert [bed.leave(other) for _ in range(3)] == [speech(text) for text in "abc"]

    def test_chaff_goes_no_further(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.cell(LinkType.CHAFF, "not even this"))
        assert bed.leave(other) == SILENCE

    def test_without_another_line(self, bed: Bed) -> None:
        bed.arrive(bed.line().speech("hello"))
        assert bed.counted() == {"not_crossed": 1}

    def test_the_oldest_goes_when_too_many_wait(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(*[one.speech(text) for text in "abcde"])
        assert [bed.leave(other) for _ in range(4)] == [*map(speech, "cde"), SILENCE]
        assert bed.counted() == {"queue_full": 2}

    def test_a_queue_that_only_delays_is_trimmed(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech("0"), one.speech("1"))
        for number in range(face.STANDING_TICKS):
            bed.arrive(one.speech(f"{number + 2}"))
            assert bed.counted() == {}
            assert bed.leave(other) == speech(f"{number}")
        assert bed.counted() == {"queue_trimmed": 1}
        # The oldest of the two that were left is gone.
        assert bed.leave(other) == speech(f"{face.STANDING_TICKS + 1}")

    def test_the_count_starts_anew_after_a_trim(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech(""))
        for times in (1, 2):
            # One more than leaves, so that two stand.
            bed.arrive(one.speech(""))
            for _ in range(face.STANDING_TICKS):
                assert bed.counted().get("queue_trimmed", 0) == times - 1
                bed.arrive(one.speech(""))
                bed.leave(other)
            assert bed.counted() == {"queue_trimmed": times}

    def test_a_shorter_queue_in_between_starts_the_count_anew(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech(""), one.speech(""))
        for number in range(50 + face.STANDING_TICKS):
            bed.arrive(*[one.speech("") for _ in range({50: 0, 51: 2}.get(number, 1))])
            bed.leave(other)
        assert bed.counted() == {}
        bed.arrive(one.speech(""))
        bed.leave(other)
        assert bed.counted() == {"queue_trimmed": 1}

    def test_control_in_between_does_not(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech(""), one.speech(""))
        for number in range(face.STANDING_TICKS):
            bed.arrive(one.speech(""))
            bed.leave(other)
            if number == 50:
                bed.forwarding.control(other.number, body("control"))
                assert bed.leave(other) == (LinkType.CONTROL, body("control"))
        assert bed.counted() == {"control_sent": 1, "queue_trimmed": 1}

    def test_an_opening_lines_body_is_passed_on(self, bed: Bed) -> None:
        one, other = bed.opening(), bed.line(11)
        bed.forwarding.cross(one.number, other.number)
        bed.arrive(one.speech("early"))
        assert bed.leave(other) == speech("early")

    def test_uncrossed_lines_pass_nothing_but_what_waits(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech("last"))
        assert bed.forwarding.uncross(other.number)
        bed.arrive(one.speech("late"), other.speech("late"))
        assert bed.leave(other) == speech("last")
        assert bed.leave(other) == SILENCE
        assert bed.counted() == {"not_crossed": 2}

    def test_crossing_anew_uncrosses_first(self, bed: Bed) -> None:
        one, other = bed.pair()
        third = bed.line(15)
        assert bed.forwarding.cross(one.number, third.number)
        bed.arrive(one.speech("to the third"), other.speech("to nobody"), third.speech("to the first"))
        assert [bed.leave(line) for line in (one, other, third)] == [
            speech("to the first"),
            SILENCE,
            speech("to the third"),
        ]
        assert bed.counted() == {"not_crossed": 1}

    def test_a_line_is_not_crossed_with_itself(self, bed: Bed) -> None:
        one, other = bed.pair()
        assert not bed.forwarding.cross(one.number, one.number)
        bed.arrive(one.speech("still"))
        assert bed.leave(other) == speech("still")


class TestControl:
    def test_received(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive(line.cell(LinkType.CONTROL, "join"))
        assert bed.forwarding.upcalls() == [ControlReceived(line.number, body("join"))]
        assert bed.forwarding.upcalls() == []

    def test_with_the_ring_full(self, bed: Bed) -> None:
        bed.fill_upcalls()
        line = bed.line()
        bed.arrive(line.cell(LinkType.CONTROL, "join"))
        assert len(bed.forwarding.upcalls()) == face.MAX_UPCALLS
        assert bed.counted() == {"upcalls_full": 1}

    def test_sent_before_bodies(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive(one.speech("hello"))
        assert bed.forwarding.control(other.number, body("first"))
        assert bed.forwarding.control(other.number, body("second"))
        assert [bed.leave(other) for _ in range(3)] == [
            (LinkType.CONTROL, body("first")),
            (LinkType.CONTROL, body("second")),
            speech("hello"),
        ]
        assert bed.counted() == {"control_sent": 2}

    def test_so_many_may_wait(self, bed: Bed) -> None:
        line = bed.opening()
        accepted = [bed.forwarding.control(line.number, body("")) for _ in range(face.MAX_CONTROL + 1)]
        assert accepted == [True] * face.MAX_CONTROL + [False]
        assert bed.counted() == {"control_full": 1}

    def test_a_line_that_is_gone_has_no_full_queue(self, bed: Bed) -> None:
        line = bed.opening()
        bed.forwarding.remove(line.number)
        assert not bed.forwarding.control(line.number, body(""))
        assert bed.counted() == {}


class TestElsewhere:
    def test_from_a_line_without_an_address(self, bed: Bed) -> None:
        line = bed.opening()
        cell, source = line.cell(LinkType.CONTROL, "prove")
        bed.arrive((cell, source))
        payload = bytes((LinkType.CONTROL,)) + body("prove")
        assert bed.forwarding.upcalls() == [Elsewhere(line.number, False, payload, source)]

    def test_from_another_address(self, bed: Bed) -> None:
        line = bed.line()
        bed.arrive((line.cell()[0], ELSEWHERE))
        payload = bytes((LinkType.CHAFF,)) + body("")
        assert bed.forwarding.upcalls() == [Elsewhere(line.number, False, payload, ELSEWHERE)]
        assert bed.leave(line) == SILENCE

    def test_under_the_following_epoch(self, bed: Bed) -> None:
        line = bed.line()
        assert bed.forwarding.prepare(line.number, up_keys(7))
        bed.arrive((seal(up_keys(7), 40, LinkType.CONTROL, body("roam")), line.address))
        payload = bytes((LinkType.CONTROL,)) + body("roam")
        assert bed.forwarding.upcalls() == [Elsewhere(line.number, True, payload, line.address)]

    def test_a_body_from_there_is_passed_on(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.arrive((one.speech("from a train")[0], ELSEWHERE))
        payload = bytes((LinkType.END_TO_END,)) + body("from a train")
        assert bed.forwarding.upcalls() == [Elsewhere(one.number, False, payload, ELSEWHERE)]
        assert bed.leave(other) == speech("from a train")

    def test_once_in_a_tick_for_each_line(self, bed: Bed) -> None:
        one, other = bed.line(), bed.line()
        bed.arrive(*[(line.cell()[0], ELSEWHERE) for line in (one, other, one)])
        assert len(bed.forwarding.upcalls()) == 2
        bed.now += 2 * TICK
        bed.arrive((one.cell()[0], ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"line_limited": 1}

    def test_a_full_ring_leaves_it_for_later_in_the_tick(self, bed: Bed) -> None:
        bed.fill_upcalls()
        line = bed.line()
        bed.arrive((line.cell()[0], ELSEWHERE))
        bed.forwarding.upcalls()
        bed.arrive((line.cell()[0], ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"upcalls_full": 1}

    def test_a_type_that_is_none_is_not_handed_up(self, bed: Bed) -> None:
        line = bed.opening()
        bed.arrive(line.cell(9))
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"unknown_type": 1}

    def test_one_that_does_not_open_is_not_handed_up(self, bed: Bed) -> None:
        line = bed.opening()
        bed.arrive((line.cell()[0][:-1] + b"x", ELSEWHERE))
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"not_authentic": 1}


class TestDepartures:
    def test_one_cell_a_tick_with_a_header_that_goes_on(self, bed: Bed) -> None:
        line = bed.line()
        headers = [bed.forwarding.slot(line.slot + tick * 20, bed.now)[0][0][:12].hex() for tick in range(3)]
        ssrc = f"{line.down.ssrc:08x}"
        assert headers == [f"806f{100 + tick:04x}{7 + 960 * tick:08x}{ssrc}" for tick in range(3)]

    def test_header_and_rollover_counter_wrap(self, bed: Bed) -> None:
        line = bed.opening()
        keys = down_keys(70, 0xFFFF, 0xFFFFFFFF, 3)
        bed.forwarding.settle(line.number, keys, line.address, advance=False)
        before, after = (bed.forwarding.slot(line.slot, bed.now)[0][0] for _ in range(2))
        assert (before[2:8].hex(), after[2:8].hex()) == ("ffffffffffff", "0000000003bf")
        assert opened(keys, before, 3) == SILENCE
        assert opened(keys, after, 4) == SILENCE

    def test_nothing_leaves_without_an_address(self, bed: Bed) -> None:
        line = bed.opening()
        assert bed.forwarding.slot(line.slot, bed.now) == []

    def test_nothing_leaves_without_keys(self, bed: Bed) -> None:
        line = bed.opening()
        assert bed.forwarding.settle(line.number, None, line.address, advance=False)
        assert bed.forwarding.slot(line.slot, bed.now) == []
        assert bed.forwarding.settle(line.number, line.down, line.address, advance=False)
        assert bed.leave(line) == SILENCE

    def test_a_new_address_under_the_same_keys(self, bed: Bed) -> None:
        line = bed.line()
        bed.leave(line)
        assert bed.forwarding.settle(line.number, None, ELSEWHERE, advance=False)
        ((cell, destination),) = bed.forwarding.slot(line.slot, bed.now)
        assert destination == ELSEWHERE
        assert cell[2:4] == (101).to_bytes(2)

    def test_only_in_its_slot(self, bed: Bed) -> None:
        line = bed.line(slot=7)
        leaving = {number: len(bed.forwarding.slot(number, bed.now)) for number in range(40)}
        assert {number for number, count in leaving.items() if count} == {line.slot, line.slot + 20}

    def test_in_the_order_in_which_they_were_added(self, bed: Bed) -> None:
        lines = [bed.line() for _ in range(5)]
        bed.forwarding.remove(lines[1].number)
        assert bed.destinations() == [lines[at].address for at in (0, 4, 2, 3)]
        bed.forwarding.remove(lines[3].number)
        assert bed.destinations() == [lines[at].address for at in (0, 4, 2)]

    def test_single_datagrams_after_the_lines(self, bed: Bed) -> None:
        line = bed.line()
        answers = [(bytes((number,)) * CELL_SIZE, address(number)) for number in range(1, 4)]
        for datagram, destination in answers:
            assert bed.forwarding.send(line.slot, datagram, destination)
        assert bed.forwarding.slot(4, bed.now) == []
        assert bed.forwarding.slot(3, bed.now)[1:] == answers
        assert len(bed.forwarding.slot(3, bed.now)) == 1
        counts = bed.forwarding.counters()
        assert (counts["singles_sent"], counts["cells_sent"]) == (3, 2)

    def test_so_many_single_datagrams_may_wait_for_a_slot(self, bed: Bed) -> None:
        accepted = [bed.forwarding.send(5, bytes(CELL_SIZE), ELSEWHERE) for _ in range(face.MAX_SINGLE + 1)]
        assert accepted == [True] * face.MAX_SINGLE + [False]
        assert bed.forwarding.send(6, bytes(CELL_SIZE), ELSEWHERE)
        assert bed.counted() == {"singles_full": 1}


class TestExpiry:
    def test_a_silent_line_emits_until_it_expires(self, bed: Bed) -> None:
        line = bed.line()
        bed.now += face.LINE_EXPIRY - 0.001
        assert bed.leave(line) == SILENCE
        bed.now += 0.002
        assert bed.forwarding.slot(line.slot, bed.now) == []
        assert bed.forwarding.slot(line.slot, bed.now) == []
        assert bed.forwarding.upcalls() == [Expired(line.number)]
        assert bed.counted() == {"lines_expired": 1}
        assert bed.forwarding.lines == 1

    def test_at_the_very_moment(self, bed: Bed) -> None:
        line = bed.line()
        bed.now += face.LINE_EXPIRY
        assert bed.forwarding.slot(line.slot, bed.now) == []

    def test_only_authentic_cells_keep_it(self, bed: Bed) -> None:
        one, other = bed.line(), bed.line()
        bed.now += 20
        cell, source = one.cell()
        bed.arrive(other.cell(), (cell[:-1] + b"x", source))
        bed.now += 11
        assert bed.destinations() == [other.address]

    def test_it_is_final(self, bed: Bed) -> None:
        line = bed.line()
        bed.now += 31
        bed.forwarding.slot(line.slot, bed.now)
        bed.arrive(line.cell())
        assert bed.forwarding.slot(line.slot, bed.now) == []

    def test_its_report_waits_for_room(self, bed: Bed) -> None:
        line = bed.line()
        bed.fill_upcalls()
        bed.now += 31
        bed.forwarding.slot(line.slot, bed.now)
        assert len(bed.forwarding.upcalls()) == face.MAX_UPCALLS
        bed.forwarding.slot(line.slot, bed.now)
        bed.forwarding.slot(line.slot, bed.now)
        assert bed.forwarding.upcalls() == [Expired(line.number)]
        assert bed.counted() == {"lines_expired": 1}

    def test_an_opening_line_does_not_expire(self, bed: Bed) -> None:
        """Whoever opened it decides how long that may take."""
        line = bed.opening()
        bed.now += 31
        bed.forwarding.slot(line.slot, bed.now)
        assert bed.forwarding.upcalls() == []


class TestRemoval:
    def test_nothing_is_left(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.forwarding.prepare(one.number, up_keys(7))
        bed.arrive(other.speech("waits"))
        bed.forwarding.control(one.number, body("waits"))
        assert bed.forwarding.remove(one.number)
        assert bed.forwarding.slot(one.slot, bed.now) == []
        bed.arrive(one.cell(), (seal(up_keys(7), 0, 0, body("")), one.address), other.speech("to nobody"))
        assert bed.forwarding.lines == 1
        assert bed.counted() == {"unknown_ssrc": 2, "not_crossed": 1}

    def test_a_number_that_is_gone_is_ignored(self, bed: Bed) -> None:
        one, other = bed.pair()
        bed.forwarding.remove(one.number)
        number = one.number
        results = [
            bed.forwarding.remove(number),
            bed.forwarding.prepare(number, up_keys(7)),
            bed.forwarding.settle(number, None, ELSEWHERE, advance=False),
            bed.forwarding.cross(number, other.number),
            bed.forwarding.cross(other.number, number),
            bed.forwarding.uncross(number),
            bed.forwarding.control(number, body("")),
        ]
        assert results == [False] * len(results)
        assert bed.forwarding.add_line(3, up_keys(7), bed.now) is not None

    def test_crossing_with_one_that_is_gone_leaves_the_other_crossed(self, bed: Bed) -> None:
        one, other = bed.pair()
        gone = bed.line()
        bed.forwarding.remove(gone.number)
        assert not bed.forwarding.cross(one.number, gone.number)
        bed.arrive(one.speech("still"))
        assert bed.leave(other) == speech("still")

    def test_a_number_never_comes_back(self, bed: Bed) -> None:
        numbers = set()
        for ssrc in range(50):
            number = bed.forwarding.add_line(3, up_keys(ssrc), bed.now)
            assert number is not None
            numbers.add(number)
            bed.forwarding.remove(number)
        assert len(numbers) == 50


class TestMisuse:
    def test_sizes(self, bed: Bed) -> None:
        line = bed.line()
        plane = bed.forwarding
        with pytest.raises(MisuseError):
            plane.control(line.number, bytes(BODY_SIZE - 1))
        with pytest.raises(MisuseError):
            plane.send(3, bytes(CELL_SIZE + 1), ELSEWHERE)
        with pytest.raises(MisuseError):
            plane.settle(line.number, None, bytes(6), advance=False)
        with pytest.raises(MisuseError):
            plane.permit(bytes(15))
        with pytest.raises(MisuseError):
            plane.forbid(bytes(17))
        with pytest.raises(MisuseError):
            plane.check_keys([bytes(15)], [])
        with pytest.raises(MisuseError):
            plane.check_keys([bytes(16)], [bytes(16)] * face.MAX_CHECK_KEYS)
        with pytest.raises(MisuseError):
            plane.add_line(3, face.UpKeys(5, bytes(15), bytes(12)), bed.now)
        with pytest.raises(MisuseError):
            plane.prepare(line.number, face.UpKeys(5, bytes(16), bytes(11)))

    def test_a_slot_is_taken_modulo_the_tick(self, bed: Bed) -> None:
        line = bed.line(slot=23)
        assert bed.destinations() == [line.address]
