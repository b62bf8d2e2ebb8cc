"""Lines that both ends of a load work out for themselves."""

import numpy as np

from relay.lab.load.lines import FIRST_SOURCE, LINE, LOOPBACK, LoadLine, blank, sealed
from relay.media_reflector.forwarding.face import SLOTS, unpack_address


def test_both_ends_get_the_same_lines_from_one_seed() -> None:
    assert LoadLine.of(7, 1) == LoadLine.of(7, 1)
    assert LoadLine.of(7, 1) != LoadLine.of(7, 2)


def test_no_two_lines_share_a_number_or_a_key() -> None:
    lines = [LoadLine.of(index, 3) for index in range(2000)]
    ssrcs = {ssrc for line in lines for ssrc in (line.up.ssrc, line.down.ssrc, line.following.ssrc)}
    keys = {key for line in lines for key in (line.up.key, line.down.key, line.following.key)}
    assert len(ssrcs) == len(keys) == 3 * len(lines)


def test_lines_are_spread_over_slots_addresses_and_partners() -> None:
    lines = [LoadLine.of(index, 1) for index in range(300)]
    assert {line.slot for line in lines} == set(range(SLOTS))
    assert unpack_address(lines[258].address(4000)) == ("127.1.1.2", 4000)
    assert all(lines[line.partner].partner == line.index for line in lines)
    assert all(line.down.sequence_number < 1 << 15 for line in lines)


def test_the_generator_gets_what_the_relay_gets() -> None:
    lines = [LoadLine.of(index, 1) for index in range(64)]
    array = sealed(lines, 1, destination=(LOOPBACK, 5000), opened_every=4)
    assert array.dtype == LINE
    for line, spec in zip(lines, array, strict=True):
        assert (spec["up_ssrc"], spec["down_ssrc"]) == (line.up.ssrc, line.down.ssrc)
        assert spec["up_key"].tobytes() == line.up.key
        assert spec["down_salt"].tobytes() == line.down.salt
        assert spec["departure"] == line.slot * 1000
        assert (spec["source"], spec["port"], spec["partner"]) == (
            FIRST_SOURCE + line.index,
            5000,
            line.partner,
        )
    assert array["opened"].sum() == 16
    # Network byte order is what the native part copies into addresses.
    assert array["destination"].tobytes()[:4] == bytes((127, 0, 0, 1))


def test_blank_lines_hear_their_partner() -> None:
    array = blank(4, 1, destination=(LOOPBACK, 5000))
    assert list(array["down_ssrc"]) == [1, 0, 3, 2]
    assert not array["sealed"].any()
    assert np.all(array["arrival"] < 20_000)
