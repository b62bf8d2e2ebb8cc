"""Whose first messages a data plane hands up: on both implementations."""

import math

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.media_reflector.forwarding import face
from relay.media_reflector.forwarding.face import (
    Stranger,
)
from relay.rtp.cell import TICK
from tests.media_reflector.forwarding.planes import (
    ELSEWHERE,
    Bed,
    first_message,
    ticket,
)


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

    def test_who_repeats_leaves_room_for_newcomers(self, bed: Bed) -> None:
        """Whoever has many tickets, or has seen many, keeps nobody out by saying them again and again."""
        known, fresh = (
            [ticket(number) for number in range(200)],
            [ticket(number) for number in range(200, 240)],
        )
        for number in known + fresh:
            bed.forwarding.permit(number)
        for _ in range(20):
            bed.now += 2 * TICK
            bed.arrive(*((first_message(number), ELSEWHERE) for number in known))
            bed.forwarding.upcalls()
        bed.now += 2 * TICK
        bed.arrive(*((first_message(number), ELSEWHERE) for number in known + fresh))
        heard = [
            upcall.datagram[12:28] for upcall in bed.forwarding.upcalls() if isinstance(upcall, Stranger)
        ]
        assert set(fresh) <= set(heard)
        assert len(heard) == face.REPEATERS_PER_TICK + len(fresh) <= face.STRANGERS_PER_TICK

    def test_so_many_different_ones_in_a_tick(self, bed: Bed) -> None:
        for number in range(face.STRANGERS_PER_TICK + 5):
            bed.forwarding.permit(ticket(number))
            bed.arrive((first_message(ticket(number)), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == face.STRANGERS_PER_TICK
        assert bed.counted() == {"strangers_received": face.STRANGERS_PER_TICK, "stranger_limited": 5}

    def test_the_tick_is_the_clocks(self, bed: Bed) -> None:
        bed.forwarding.permit(ticket(1))
        # The last moment of a tick and the first of the next.
        edge = math.ceil(bed.now / TICK) * TICK + TICK / 1000
        bed.now = edge - TICK / 500
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        bed.now = edge
        bed.arrive((first_message(ticket(1)), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 2

    def test_a_number_with_a_check_needs_no_table(self, bed: Bed) -> None:
        key = bytes(range(16))
        number = b"8 bytes."
        check = AESGCM(key).encrypt(number + bytes(4), b"", None)[: face.CHECK_SIZE]
        bed.forwarding.check_keys([bytes(16), key])
        bed.arrive((first_message(number + check), ELSEWHERE))
        assert len(bed.forwarding.upcalls()) == 1
        bed.arrive((first_message(number + bytes(8)), ELSEWHERE))
        bed.forwarding.check_keys([bytes(16)])
        bed.arrive((first_message(number + check), ELSEWHERE))
        assert bed.counted() == {"strangers_received": 1, "unknown_ssrc": 2}

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
