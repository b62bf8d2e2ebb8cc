"""GnuPG's status channel: a signature is good when it is, alone, and by the key that was asked for."""

import pytest

from relay.agent.openpgp_status import Signature, read_check, read_signing

KEY, OTHER = "A" * 40, "B" * 40
VALID = f"VALIDSIG {OTHER} 2026-11-26 1795000000 0 4 0 22 8 00 {KEY}"


def status(*lines: str) -> bytes:
    return "".join(f"[GNUPG:] {line}\n" for line in lines).encode()


GOOD = status("NEWSIG", "KEY_CONSIDERED x 0", f"GOODSIG {OTHER[:16]} Bob", VALID, "TRUST_UNDEFINED")


def test_a_subkey_counts_as_its_primary_key_and_itself() -> None:
    assert read_check(GOOD, KEY) is Signature.GOOD
    assert read_check(GOOD, OTHER) is Signature.GOOD
    assert read_check(GOOD, "C" * 40) is Signature.OTHER_KEY


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Signature.UNCHECKED),
        (("NODATA 4",), Signature.BAD),
        (("UNEXPECTED 0",), Signature.BAD),
        ((f"BADSIG {KEY[:16]} Bob",), Signature.BAD),
        ((f"GOODSIG {KEY[:16]} Bob", VALID, f"BADSIG {KEY[:16]} Bob"), Signature.BAD),
        ((f"GOODSIG {KEY[:16]} Bob", VALID, f"GOODSIG {OTHER[:16]} Bob", VALID), Signature.BAD),
        ((f"GOODSIG {KEY[:16]} Bob",), Signature.UNCHECKED),
        ((f"GOODSIG {KEY[:16]} Bob", VALID, VALID), Signature.UNCHECKED),
        ((f"GOODSIG {KEY[:16]} Bob", "VALIDSIG " + KEY), Signature.UNCHECKED),
        ((VALID,), Signature.UNCHECKED),
        ((f"EXPKEYSIG {KEY[:16]} Bob", VALID), Signature.OTHER_KEY),
        ((f"EXPSIG {KEY[:16]} Bob", VALID), Signature.OTHER_KEY),
        ((f"REVKEYSIG {KEY[:16]} Bob", VALID), Signature.OTHER_KEY),
        ((f"ERRSIG {KEY[:16]} 22 8 00 1795000000 9 {KEY}",), Signature.OTHER_KEY),
        ((f"ERRSIG {KEY[:16]} 99 8 00 1795000000 4 {KEY}",), Signature.UNCHECKED),
        ((f"GOODSIG {KEY[:16]} Bob", VALID.replace(" 8 00 ", " 2 00 ")), Signature.BAD),
        ((f"GOODSIG {KEY[:16]} Bob", VALID.replace(" 8 00 ", " 8 01 ")), Signature.BAD),
    ],
)
def test_anything_else_is_not_good(lines: tuple[str, ...], expected: Signature) -> None:
    assert read_check(status(*lines), KEY) is expected


def test_what_is_no_status_line_says_nothing() -> None:
    user_id = f"gpg: Good signature from [GNUPG:] GOODSIG {KEY[:16]}\n".encode()
    assert read_check(user_id + b" " + GOOD.replace(b"\n", b" "), KEY) is Signature.UNCHECKED
    assert read_check(b"[GNUPG:] \xff\xfe\n" + GOOD, KEY) is Signature.GOOD


def test_whether_a_signature_was_made() -> None:
    assert read_signing(status("BEGIN_SIGNING H8", f"SIG_CREATED D 22 8 00 1795000000 {KEY}"))
    assert not read_signing(status("BEGIN_SIGNING H8", "FAILURE sign 17"))
    assert not read_signing(b"SIG_CREATED\n")
