"""What GnuPG says on its status channel (its doc/DETAILS), which no language and no user ID can alter.

The words for people are not read.  A signature counts when it is good, alone, made with a hash that still holds, and by
the one key that was asked for.
"""

from collections.abc import Iterator
from enum import Enum

_PREFIX = b"[GNUPG:] "
_NOT_VALID_NOW = ("EXPSIG", "EXPKEYSIG", "REVKEYSIG")
_VERDICTS = ("GOODSIG", "BADSIG", "ERRSIG", *_NOT_VALID_NOW)
_NO_KEY = "9"
"""ERRSIG's reason when the key is not in the keyring."""
_STRONG_HASHES = ("8", "9", "10", "11", "12", "14")
"""SHA-2 and SHA-3 (RFC 9580 section 9.5)."""
_BINARY = "00"


class Signature(Enum):
    """What a signature is worth."""

    GOOD = "good"
    BAD = "bad"
    OTHER_KEY = "other_key"
    """By a key that is not the one asked for, not in the keyring, or not valid any more."""
    UNCHECKED = "unchecked"
    """GnuPG could not say: it is not there, was too slow, or does not know the algorithm."""


def read_check(status: bytes, fingerprint: str) -> Signature:
    """The verdict on a detached signature that has to be by the key `fingerprint`, or a subkey of it."""
    lines = list(_lines(status))
    said = {words[0] for words in lines}
    verdicts = [words for words in lines if words[0] in _VERDICTS]
    if "BADSIG" in said or len(verdicts) > 1 or said & {"NODATA", "UNEXPECTED"}:
        return Signature.BAD
    if not verdicts:
        return Signature.UNCHECKED
    (verdict,) = verdicts
    if verdict[0] in _NOT_VALID_NOW:
        return Signature.OTHER_KEY
    if verdict[0] == "ERRSIG":
        return Signature.OTHER_KEY if verdict[6:7] == [_NO_KEY] else Signature.UNCHECKED
    valid = [words for words in lines if words[0] == "VALIDSIG"]
    if len(valid) != 1 or len(valid[0]) < 11:
        return Signature.UNCHECKED
    words = valid[0]
    if words[8] not in _STRONG_HASHES or words[9] != _BINARY:
        return Signature.BAD
    return Signature.GOOD if fingerprint in (words[1], words[10]) else Signature.OTHER_KEY


def read_signing(status: bytes) -> bool:
    """Whether a signature was made."""
    return any(words[0] == "SIG_CREATED" for words in _lines(status))


def _lines(status: bytes) -> Iterator[list[str]]:
    for line in status.split(b"\n"):
        words = line.removeprefix(_PREFIX).decode("ascii", "replace").split()
        if line.startswith(_PREFIX) and words:
            yield words
