"""Passphrases as bytes: what is typed on two keyboards, or two systems, is one passphrase (RFC 8265 section 4.2).

The OpaqueString profile: every space is the space of ASCII, letters are put together (NFC), capitals stay; what cannot
be seen, or is no character yet, is refused.  Contextual rules are those of RFC 5892 appendix A, by the library `idna`.
"""

import unicodedata
from itertools import chain

from idna import IDNAError
from idna.core import valid_contextj, valid_contexto

from relay.core import MisuseError

SHORTEST = 12
"""Characters of a new passphrase: four short words."""
LONGEST = 1024

_JOINERS = "\u200c\u200d"
_IN_CONTEXT = frozenset(
    chain("\u00b7\u0375\u05f3\u05f4\u30fb", map(chr, range(0x0660, 0x066A)), map(chr, range(0x06F0, 0x06FA)))
)
_OLD_HANGUL = tuple(chain(range(0x1100, 0x1200), range(0xA960, 0xA97D), range(0xD7B0, 0xD7FC)))
_IGNORABLE = frozenset(
    map(
        chr,
        chain(
            *(_OLD_HANGUL, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0)),
            *(range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0000, 0xE1000)),
        ),
    )
)
"""What RFC 8264 section 9 disallows and general categories do not tell: conjoining Jamo, characters to be ignored."""
_DISALLOWED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def prepared(passphrase: str) -> bytearray:
    """The bytes of a passphrase; wipe them soon.  Raises `MisuseError`."""
    spaced = "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in passphrase)
    composed = unicodedata.normalize("NFC", spaced)
    if not composed:
        raise MisuseError("a passphrase cannot be empty")
    if len(composed) > LONGEST:
        raise MisuseError(f"a passphrase has at most {LONGEST} characters")
    if not all(_allowed(composed, position) for position in range(len(composed))):
        raise MisuseError("a passphrase cannot have characters that do not show; type it again")
    return bytearray(composed, "utf-8")


def chosen(passphrase: str) -> bytearray:
    """As `prepared`, of a new passphrase.  Raises `MisuseError` where it is too short."""
    made = prepared(passphrase)
    if len(made.decode()) < SHORTEST:
        raise MisuseError(
            f"a passphrase has at least {SHORTEST} characters; take four words or more, at random"
        )
    return made


def _allowed(text: str, position: int) -> bool:
    sign = text[position]
    try:
        if sign in _JOINERS:
            return valid_contextj(text, position)
        if sign in _IN_CONTEXT:
            return valid_contexto(text, position)
    except (IDNAError, ValueError):
        return False
    return unicodedata.category(sign) not in _DISALLOWED and sign not in _IGNORABLE
