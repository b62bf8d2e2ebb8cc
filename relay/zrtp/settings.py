"""What an end of ZRTP wants, what it was told by signalling, and when it sends again (RFC 6189 sections 6, 8.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relay.zrtp.confirm import FOREVER
from relay.zrtp.suites import AuthTagType, CipherType, HashType, KeyAgreementType, Offer, SasType


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds until a message is sent again, doubled each time up to `most`; and how many times."""

    first: float
    most: float
    times: int


T1 = Schedule(0.050, 0.200, 20)
T2 = Schedule(0.150, 1.200, 10)

EVERYTHING = Offer(
    (HashType.S256, HashType.S384),
    (CipherType.AES1, CipherType.AES3),
    (AuthTagType.HS80, AuthTagType.HS32),
    (KeyAgreementType.X255, KeyAgreementType.EC25, KeyAgreementType.EC38, KeyAgreementType.DH3K),
    (SasType.B32, SasType.B256),
)
"""All that this package can, the usual first.  Multistream and Preshared are added where they are possible."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One end's policy; the same object may serve any number of exchanges."""

    offer: Offer = EVERYTHING
    passive: bool = False
    """Never send a Commit (section 5.2, flag P)."""
    preshared: bool = False
    """Take part in Preshared mode.  Off: it has no forward secrecy of its own (section 4.4.2)."""
    preshared_calls: int = 4
    """How many calls in Preshared mode may follow one with Diffie-Hellman."""
    expiration: int = FOREVER
    """Seconds for which a new retained secret may be kept; zero for an end without a cache (section 4.9.1)."""
    discloses: bool = False
    """Flag D: this product gives keys to others, or keeps them (section 11)."""
    hello_schedule: Schedule = T1
    schedule: Schedule = T2
    known_peer: float = 12.0
    """Seconds for which Hello is sent where the peer is known to speak ZRTP (section 6)."""
    silence: float = 10.0
    """Seconds without a message of the exchange after which a responder gives up (section 6)."""
    total: float = 30.0
    """Seconds from the start after which an exchange that is not complete fails, whatever has been heard."""

    def whole_offer(self) -> Offer:
        """What Hello lists: with whatever is mandatory, and the modes without Diffie-Hellman that we take part in."""
        offer = self.offer.completed()
        modes = (KeyAgreementType.MULT,) + ((KeyAgreementType.PRSH,) if self.preshared else ())
        agreements = tuple(kind for kind in offer.key_agreements if kind.is_dh) + modes
        return replace(offer, key_agreements=agreements)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is known of the peer before it says anything."""

    hello_hashes: Sequence[str] = ()
    """The values of its a=zrtp-hash attributes; no Hello is taken that fits none of them (section 8.1)."""
    protected: bool = False
    """Nobody on the way could change these hashes: they came under end-to-end authentication (section 8.1.1)."""
    zid: bytes = b""
    """The ZID that this contact had before, if any (section 12)."""
    auxsecret: bytes = field(default=b"", repr=False)

    @property
    def speaks_zrtp(self) -> bool:
        """Whether finding no ZRTP at the other end would be a downgrade."""
        return bool(self.hello_hashes or self.zid)
