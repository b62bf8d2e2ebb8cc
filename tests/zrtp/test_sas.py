"""What two people read to each other."""

from relay.zrtp.pgp_words import EVEN, ODD
from relay.zrtp.sas import Sas, base32, words
from relay.zrtp.suites import SasType


def test_base32_by_section_5_1_6() -> None:
    """The RFC's own loop, and its alphabet at both ends."""

    def by_the_rfc(bits: int) -> str:
        result, shift = "", 27
        for _ in range(4):
            result += "ybndrfg8ejkmcpqxot1uwisza345h769"[(bits >> shift) & 31]
            shift -= 5
        return result

    assert base32(bytes(4)) == "yyyy"
    assert base32(b"\xff" * 4) == "9999"
    assert base32(bytes.fromhex("00443200")) == "ybnd"
    for number in range(0, 2**32, 0x1234567):
        assert base32(number.to_bytes(4)) == by_the_rfc(number)


def test_the_last_twelve_bits_are_not_shown() -> None:
    assert base32(bytes.fromhex("12345000")) == base32(bytes.fromhex("12345fff"))
    assert base32(bytes.fromhex("12345000")) != base32(bytes.fromhex("12346000"))


def test_words_of_a_published_fingerprint() -> None:
    """The example that goes with the list: a PGP fingerprint of 20 bytes, in words."""
    fingerprint = bytes.fromhex("E58294F2E9A227486E8B061B31CC528FD7FA3F19")
    spoken = (
        "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa "
        "afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
    )
    pairs = [words(fingerprint[at : at + 2]) for at in range(0, 20, 2)]
    assert " ".join(pairs) == spoken


def test_the_lists_are_whole_and_have_no_word_in_common() -> None:
    for listed in (EVEN, ODD):
        assert len(listed) == 256
        initials = [word[0].lower() for word in listed]
        assert initials == sorted(initials)
    assert len({word.lower() for word in EVEN + ODD}) == 512
    # Those at odd places have a syllable more.
    assert sum(map(len, ODD)) > sum(map(len, EVEN)) * 1.2


def test_one_value_in_both_forms() -> None:
    value = bytes.fromhex("e5820000")
    assert Sas(SasType.B256, value).text == "topmost Istanbul"
    assert Sas(SasType.B32, value).text == Sas(SasType.B256, value).characters == base32(value)
    assert Sas(SasType.B32, value).words == "topmost Istanbul"
    assert "topmost" not in repr(Sas(SasType.B256, value))
