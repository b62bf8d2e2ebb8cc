"""Whose first messages a data plane hands up: on both implementations."""

import math

import pytest

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    Stranger,
)
from relay.rtp.cell import TICK
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    Bed,
    checked,
    first_message,
    ticket,
)

OWN, LEFT = bytes(range(16)), bytes(range(1, 17))
SHARES = {"permitted": face.PERMITTED_PER_TICK, "own": face.OWN_PER_TICK, "left": face.LEFT_PER_TICK}
ORIGINS = list(SHARES)


def of_origin(bed: Bed, origin: str, count: int) -> list[bytes]:
    """Numbers that the data plane hands up for that reason."""
    bed.forwarding.check_keys([bytes(16), OWN], [LEFT])
    if origin == "permitted":
        for number in range(count):
            bed.forwarding.permit(ticket(number))
        return [ticket(number) for number in range(count)]
    return [checked(OWN if origin == "own" else LEFT, number) for number in range(count)]


def heard_numbers(bed: Bed) -> list[bytes]:
    return [upcall.datagram[12:28] for upcall in bed.forwarding.upcalls() if isinstance(upcall, Stranger)]


class TestStrangers:
    def test_a_permitted_number_is_handed_up(self, bed: Bed) -> None:
        bed.forwarding.permit(ticket(1))
        message = first_message(ticket(1))
        bed.arrive((message, ELSEWHERE))
        assert bed.forwarding.upcalls() == [Stranger(message, ELSEWHERE)]
        assert bed.counted() == {"strangers_received": 1}

    def test_a_forbidden_one_is_unknown(self, bed: Bed) -> None:
        bed.forwarding.permit(ticket(1))
        bed.forwarding.forbid(ticket(1))
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"unknown_ssrc": 1}

    def test_once_in_a_tick(self, bed: Bed) -> None:
        bed.forwarding.permit(ticket(1))
        bed.arrive(*[(first_message(ticket(1), ssrc), ELSEWHERE) for ssrc in range(3)])
        assert len(bed.forwarding.upcalls()) == 1
        bed.now += 2 * TICK
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"strangers_received": 2, "stranger_limited": 2}

    @pytest.mark.parametrize("origin", ORIGINS)
    def test_who_repeats_leaves_room_for_newcomers(self, bed: Bed, origin: str) -> None:
        """Whoever has many tickets, or has seen many, keeps nobody out by saying them again and again."""
        share = SHARES[origin]
        numbers = of_origin(bed, origin, 3 * share)
        known, fresh = numbers[: -share // 2], numbers[-share // 2 :]
        for _ in range(20):
            bed.now += 2 * TICK
            bed.arrive(*((first_message(number), ELSEWHERE) for number in known))
            bed.forwarding.upcalls()
        bed.now += 2 * TICK
        bed.arrive(*((first_message(number), ELSEWHERE) for number in numbers))
        heard = heard_numbers(bed)
        assert set(fresh) <= set(heard)
        assert len(heard) == share

    def test_so_many_different_ones_of_each_origin_in_a_tick(self, bed: Bed) -> None:
        """And what one origin leaves empty is nobody else's."""
        numbers = {origin: of_origin(bed, origin, SHARES[origin] + 5) for origin in ORIGINS}
        for said in ([ORIGINS[0]], ORIGINS[1:], ORIGINS):
            bed.now += 2 * TICK
            bed.arrive(*((first_message(number), ELSEWHERE) for origin in said for number in numbers[origin]))
            assert heard_numbers(bed) == [
                number for origin in said for number in numbers[origin][: SHARES[origin]]
            ]
        assert bed.counted() == {"strangers_received": 2 * sum(SHARES.values()), "stranger_limited": 2 * 15}

    def test_all_that_is_handed_up_in_a_tick_has_room(self) -> None:
        assert sum(SHARES.values()) + face.OPENING_PER_TICK + face.OPEN_PER_TICK < face.MAX_UPCALLS

    def test_the_tick_is_the_clocks(self, bed: Bed) -> None:
        bed.forwarding.permit(ticket(1))
        # The last moment of a tick and the first of the next.
        edge = math.ceil(bed.now / TICK) * TICK + TICK / 1000
        bed.now = edge - TICK / 500
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        bed.now = edge
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 2

    @pytest.mark.parametrize("origin", ["own", "left"])
    def test_a_number_with_a_check_needs_no_table(self, bed: Bed, origin: str) -> None:
        (number,) = of_origin(bed, origin, 1)
        bed.arrive((first_message(number), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        bed.arrive((first_message(number[:-1] + bytes((number[-1] ^ 1,))), ELSEWHERE))
        bed.forwarding.check_keys([bytes(16)], [bytes(15) + b"1"])
        bed.arrive((first_message(number), ELSEWHERE))
        assert bed.counted() == {"strangers_received": 1, "unknown_ssrc": 2}

    @pytest.mark.parametrize("origin", ["own", "left"])
    def test_a_forbidden_number_does_not_pass_the_check(self, bed: Bed, origin: str) -> None:
        """A ticket is used once, and would pass for two hours."""
        used, unused = of_origin(bed, origin, 2)
        bed.forwarding.forbid(used)
        bed.arrive(*((first_message(number), ELSEWHERE) for number in (used, unused)))
        assert heard_numbers(bed) == [unused]
        assert bed.counted() == {"strangers_received": 1, "unknown_ssrc": 1}

    def test_what_is_forbidden_stays_so_while_its_key_does(self, bed: Bed) -> None:
        (used,) = of_origin(bed, "left", 1)
        bed.forwarding.forbid(used)
        bed.forwarding.check_keys([bytes(16), LEFT], [OWN])
        bed.arrive((first_message(used), ELSEWHERE))
        assert heard_numbers(bed) == []
        bed.forwarding.check_keys([bytes(16)], [])
        bed.forwarding.check_keys([OWN], [LEFT])
        bed.arrive((first_message(used), ELSEWHERE))
        assert heard_numbers(bed) == [used], "what was forbidden under a key goes with it"

    def test_what_is_permitted_is_forbidden_no_more(self, bed: Bed) -> None:
        (number,) = of_origin(bed, "own", 1)
        bed.forwarding.forbid(number)
        bed.forwarding.permit(number)
        bed.arrive((first_message(number), ELSEWHERE))
        bed.forwarding.forbid(number)
        bed.now += 2 * TICK
        bed.arrive((first_message(number), ELSEWHERE))
        assert heard_numbers(bed) == [number]

    def test_so_many_forbidden_numbers_are_remembered(self, bed: Bed) -> None:
        first, second, *others = of_origin(bed, "own", face.MAX_FORBIDDEN + 1)
        for number in (first, second, *others):
            bed.forwarding.forbid(number)
        bed.arrive(*((first_message(number), ELSEWHERE) for number in (first, second, others[-1])))
        assert heard_numbers(bed) == [first]

    def test_a_full_ring_leaves_the_number_for_later_in_the_tick(self, bed: Bed) -> None:
        bed.fill_upcalls()
        bed.forwarding.permit(ticket(1))
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        bed.forwarding.upcalls()
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        assert bed.counted() == {"upcalls_full": 1, "strangers_received": 2}

    def test_on_an_opening_lines_ssrc(self, bed: Bed) -> None:
        """The agent did not get the answer, and asks again."""
        line = bed.opening()
        bed.forwarding.permit(ticket(1))
        bed.arrive((first_message(ticket(1), line.up.ssrc), ELSEWHERE))
        assert [type(one) for one in bed.forwarding.upcalls()] == [Stranger]

    def test_not_on_the_ssrc_of_a_line_that_is_open(self, bed: Bed) -> None:
        line = bed.line()
        bed.forwarding.permit(ticket(1))
        bed.arrive((first_message(ticket(1), line.up.ssrc), ELSEWHERE))
        assert bed.forwarding.upcalls() == []
        assert bed.counted() == {"not_authentic": 1}
