"""The short authentication string: what two people read to each other (RFC 6189 sections 5.1.6, 7)."""

from dataclasses import dataclass

from relay.zrtp.pgp_words import EVEN, ODD
from relay.zrtp.suites import SasType

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_CHARACTERS = 4


def base32(sas_value: bytes) -> str:
    """Four characters for the first 20 bits of the sasvalue (B32)."""
    bits = int.from_bytes(sas_value[:4])
    return "".join(_ALPHABET[bits >> 27 - 5 * place & 31] for place in range(_CHARACTERS))


def words(sas_value: bytes) -> str:
    """Two words for the first 16 bits of the sasvalue (B256)."""
    return f"{EVEN[sas_value[0]]} {ODD[sas_value[1]]}"


@dataclass(frozen=True, slots=True)
class Sas:
    """One value in both forms.  `text` is the form that both ends agreed to show."""

    sas_type: SasType
    value: bytes
    """The sasvalue: four bytes."""

    @property
    def characters(self) -> str:
        return base32(self.value)

    @property
    def words(self) -> str:
        return words(self.value)

    @property
    def text(self) -> str:
        return self.words if self.sas_type is SasType.B256 else self.characters

    def __repr__(self) -> str:
        # No secret, but it is nobody's business in a log.
        return "Sas(...)"
