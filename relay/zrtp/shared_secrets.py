"""Which retained secrets two ends have in common (RFC 6189 section 4.3)."""

import hmac
from dataclasses import dataclass
from enum import StrEnum

from relay.core import Entropy
from relay.zrtp.dh_part import ID_SIZE, SecretIds
from relay.zrtp.key_schedule import mac
from relay.zrtp.retained import Retained
from relay.zrtp.suites import HashType


class Role(StrEnum):
    """As the labels of section 4.3.1 name it."""

    INITIATOR = "Initiator"
    RESPONDER = "Responder"

    @property
    def other(self) -> "Role":
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR


class Continuity(StrEnum):
    """What a cache says about a peer."""

    FIRST = "first"
    """Nothing was retained, or it had expired: the SAS is all there is to go by."""
    CONTINUED = "continued"
    """A retained secret matched: whoever was there in the last call is there now."""
    MISMATCH = "mismatch"
    """We have a secret and the peer does not: it lost its cache, or this is somebody else (section 4.3.2)."""


@dataclass(frozen=True, slots=True)
class Shared:
    """s1 and s2; empty where nothing matched.  s3 is always empty: no PBX is ever trusted."""

    s1: bytes
    s2: bytes
    continuity: Continuity
    auxsecret_missed: bool
    """We have an auxsecret and it did not match."""

    def __repr__(self) -> str:
        return f"Shared({self.continuity})"


@dataclass(frozen=True, slots=True)
class OwnSecrets:
    """What this end brings: its cache entry, if there is one, and an auxsecret, which may be empty."""

    retained: Retained | None
    auxsecret: bytes = b""

    def __repr__(self) -> str:
        return "OwnSecrets(...)"

    def ids(self, hash_type: HashType, role: Role, own_h3: bytes, entropy: Entropy) -> SecretIds:
        """The hashes that our DHPart carries."""

        def or_random(secret: bytes, label: bytes) -> bytes:
            return _secret_id(hash_type, secret, label) if secret else entropy.token(ID_SIZE)

        label = role.value.encode()
        return SecretIds(
            or_random(self.retained.rs1 if self.retained else b"", label),
            or_random(self.retained.rs2 if self.retained else b"", label),
            or_random(self.auxsecret, own_h3),
            entropy.token(ID_SIZE),
        )

    def shared(self, hash_type: HashType, role: Role, theirs: SecretIds, peer_h3: bytes) -> Shared:
        """What matches, given the hashes in the peer's DHPart; `role` is ours."""
        s1 = self._retained_in_common(hash_type, role, theirs)
        aux_id = _secret_id(hash_type, self.auxsecret, peer_h3) if self.auxsecret else b""
        s2 = self.auxsecret if hmac.compare_digest(aux_id, theirs.auxsecret) else b""
        if s1:
            continuity = Continuity.CONTINUED
        elif self.retained is None or self.retained.expired:
            continuity = Continuity.FIRST
        else:
            continuity = Continuity.MISMATCH
        return Shared(s1, s2, continuity, bool(self.auxsecret) and not s2)

    def _retained_in_common(self, hash_type: HashType, role: Role, theirs: SecretIds) -> bytes:
        """The initiator's rs1 if the responder has it, else the initiator's rs2 if the responder has that."""
        ours = [(secret, _secret_id(hash_type, secret, role.other.value.encode())) for secret in self._kept()]
        received = [theirs.rs1, theirs.rs2]
        pairs = (
            ((secret, own, other) for secret, own in ours for other in received)
            if role is Role.INITIATOR
            else ((secret, own, other) for other in received for secret, own in ours)
        )
        return next((secret for secret, own, other in pairs if hmac.compare_digest(own, other)), b"")

    def _kept(self) -> list[bytes]:
        if self.retained is None:
            return []
        return [secret for secret in (self.retained.rs1, self.retained.rs2) if secret]


def _secret_id(hash_type: HashType, secret: bytes, label: bytes) -> bytes:
    return mac(hash_type, secret, label)[:ID_SIZE]
