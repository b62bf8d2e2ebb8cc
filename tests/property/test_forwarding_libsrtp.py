"""libsrtp as the third opinion on the link format: it opens what the data planes seal, and seals what they open."""

import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.media_reflector.forwarding.face import DownKeys, Forwarding, UpKeys
from relay.rtp.cell import LinkType
from relay.rtp.packet import pack_header
from relay.rtp.srtp import AeadSrtp, SessionKeys, derive_session_keys
from tests.media_reflector.forwarding.planes import NOW, Bed, address, body, make_forwarding, up_keys

KEY, SALT = bytes(range(16)), bytes(range(100, 112))
SSRC = 0x5501A0B2
SESSION = derive_session_keys(KEY, SALT)
UP = UpKeys(SSRC, SESSION.key, SESSION.salt)
PLANES = ["plain", "native"]

JUMP = 0x5000
FORWARD = st.one_of(st.just(1), st.integers(1, 140), st.integers(JUMP, JUMP + 0xF00))
"""How far an agent's packet index goes on.  With whatever is lost it stays within the 2**15 that a receiver can follow;
beyond them libsrtp makes an exception before the first rollover, which RFC 3711 does not know."""
ARRIVALS = st.lists(st.tuples(FORWARD, st.one_of(st.just(0), st.integers(0, 3))), min_size=1, max_size=60)


def _libsrtp(ssrc_type: int) -> pylibsrtp.Session:
    profile = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    return pylibsrtp.Session(pylibsrtp.Policy(key=KEY + SALT, ssrc_type=ssrc_type, srtp_profile=profile))


def _header(index: int) -> bytes:
    return pack_header(111, index & 0xFFFF, index * 960 & 0xFFFFFFFF, SSRC)


class _Judged:
    """A data plane with one line under libsrtp's keys, crossed with another that takes the bodies."""

    def __init__(self, name: str) -> None:
        self.plane: Forwarding = make_forwarding(name)
        line = self.plane.add_line(0, UP, NOW)
        assert line is not None
        self.plane.settle(line, None, address(1), advance=False)
        self.other = Bed(self.plane).line(1)
        self.plane.cross(line, self.other.number)

    def takes(self, cell: bytes) -> bytes | None:
        """The body of a cell, as it leaves in the other line's next one; None when nothing was accepted."""
        before = self.plane.counters()["cells_received"]
        self.plane.receive([(cell, address(1))], NOW)
        link_type, text = Bed(self.plane).leave(self.other)
        if self.plane.counters()["cells_received"] == before:
            assert link_type is LinkType.CHAFF
            return None
        return text


@pytest.mark.parametrize("name", PLANES)
def test_libsrtp_opens_what_is_sealed_over_two_rollovers(name: str) -> None:
    plane = make_forwarding(name)
    line = plane.add_line(0, up_keys(1), NOW)
    assert line is not None
    plane.settle(
        line, DownKeys(SSRC, SESSION.key, SESSION.salt, 40_000, 40_000 * 960), address(1), advance=False
    )
    theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
    for index in range(40_000, 140_000):
        if index % 3 == 0:
            plane.control(line, index.to_bytes(131))
        ((cell, _),) = plane.slot(0, NOW)
        payload = b"\2" + index.to_bytes(131) if index % 3 == 0 else bytes(132)
        assert theirs.unprotect(cell) == _header(index) + payload


@pytest.mark.parametrize("name", PLANES)
def test_what_libsrtp_seals_is_opened_over_two_rollovers(name: str) -> None:
    plane = make_forwarding(name)
    line = plane.add_line(0, UP, NOW)
    assert line is not None
    plane.settle(line, None, address(1), advance=False)
    other = Bed(plane).line(1)
    plane.cross(line, other.number)
    theirs = _libsrtp(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    leaving = AeadSrtp(SessionKeys(other.down.key, other.down.salt))
    for index in range(40_000, 140_000):
        plane.receive([(theirs.protect(_header(index) + b"\1" + index.to_bytes(131)), address(1))], NOW)
        ((cell, _),) = plane.slot(1, NOW)
        assert leaving.unprotect(cell) == b"\1" + index.to_bytes(131)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 0xFFFF), ARRIVALS)
def test_what_libsrtp_takes_is_taken(start: int, arrivals: list[tuple[int, int]]) -> None:
    """In any order: lost, late, again, over wraps and jumps."""
    sender = _libsrtp(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    receiver = _libsrtp(pylibsrtp.Policy.SSRC_ANY_INBOUND)
    planes = [_Judged(name) for name in PLANES]
    cells: list[bytes] = []
    index = start
    for forward, back in arrivals:
        index += forward
        cells.append(sender.protect(_header(index) + b"\1" + body(f"{len(cells)}")))
        # Nothing is lost after a jump: two in a row would be too far.
        arriving = cells[-1 - back] if forward < JUMP and back < len(cells) else cells[-1]
        try:
            expected = receiver.unprotect(arriving)[13:]
        except pylibsrtp.Error:
            expected = None
        assert [plane.takes(arriving) for plane in planes] == [expected, expected]
