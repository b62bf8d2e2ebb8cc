"""a=zrtp-hash: what is one, what is passed over, how many."""

import pytest

from relay.sip.sdp import Media
from relay.sip.zrtp_hash import MOST_HASHES, with_zrtp_hashes, zrtp_hashes

DIGITS = "0123456789abcdef" * 4


def section(*values: str | None) -> Media:
    return Media("audio", 4000, "RTP/AVP", ("96",), tuple(("zrtp-hash", value) for value in values))


def test_what_linphone_announces_is_read_and_written() -> None:
    value = "1.10 167ed45e681b4479c70089611b1398b1f0c016c3ffe743f1165a1bce17bdebed"
    media = section(value)
    assert zrtp_hashes(media) == (value,)
    assert with_zrtp_hashes(section(), zrtp_hashes(media)) == media


@pytest.mark.parametrize(
    "value",
    [None, "", DIGITS, f"1.10 {DIGITS[:-1]}", f"1.10 {DIGITS}0", f"1.10  {DIGITS}", f"0.85 {DIGITS}",
     f"1.10 {DIGITS[:-1]}g", f"1.1\u0661 {DIGITS}", f"1.10 {DIGITS}\t"],
)  # fmt: skip
def test_what_is_none_is_passed_over(value: str | None) -> None:
    assert zrtp_hashes(section(value, f"1.10 {DIGITS}")) == (f"1.10 {DIGITS}",)


def test_there_are_never_many() -> None:
    values = [f"1.10 {number:064x}" for number in range(20)]
    assert zrtp_hashes(section(*values)) == tuple(values[:MOST_HASHES])
    assert len(with_zrtp_hashes(section(), values).attributes) == MOST_HASHES
