"""From what two ends share to all keys of a stream (RFC 6189 sections 4.3 to 4.5).

Labels and orders are the RFC's, letter by letter.  Nothing here keeps anything: s0 goes out of scope with its caller.
"""

import hmac
from dataclasses import dataclass

from relay.zrtp.confirm import ConfirmKeys
from relay.zrtp.suites import HashType, Suite

_KDF_COUNTER = (1).to_bytes(4)
_SALT_BITS = 112
RETAINED_SIZE = 32
"""Bytes of a retained secret."""


def mac(hash_type: HashType, key: bytes, data: bytes) -> bytes:
    """HMAC with the agreed hash (section 5.1.2.1)."""
    return hmac.digest(key, data, hash_type.digest_name)


def kdf(hash_type: HashType, key: bytes, label: str, context: bytes, bits: int) -> bytes:
    """The ZRTP key derivation function (section 4.5.1); at most the hash's size."""
    data = _KDF_COUNTER + label.encode() + b"\0" + context + bits.to_bytes(4)
    return mac(hash_type, key, data)[: bits // 8]


def _counted(secret: bytes) -> bytes:
    return len(secret).to_bytes(4) + secret


@dataclass(frozen=True, slots=True)
class Context:
    """Who talks and what was said: KDF_Context, from the initiator's side to the responder's."""

    hash: HashType
    zid_i: bytes
    zid_r: bytes
    total_hash: bytes

    @classmethod
    def of(cls, hash_type: HashType, zid_i: bytes, zid_r: bytes, *messages: bytes) -> "Context":
        """`messages` are those that total_hash covers: responder's Hello, Commit, DHPart1, DHPart2 (section 4.4)."""
        return cls(hash_type, zid_i, zid_r, hash_type.digest(b"".join(messages)))

    def __bytes__(self) -> bytes:
        return self.zid_i + self.zid_r + self.total_hash

    def dh_s0(self, dh_result: bytes, s1: bytes, s2: bytes, s3: bytes = b"") -> bytes:
        """s0 with Diffie-Hellman (section 4.4.1.4); secrets that are not shared are empty."""
        return self.hash.digest(
            _KDF_COUNTER
            + dh_result
            + b"ZRTP-HMAC-KDF"
            + bytes(self)
            + _counted(s1)
            + _counted(s2)
            + _counted(s3)
        )

    def preshared_s0(self, preshared_key: bytes) -> bytes:
        """Section 4.4.2.4."""
        return self._whole(preshared_key, "ZRTP PSK")

    def multistream_s0(self, session_key: bytes) -> bytes:
        """Section 4.4.3.2."""
        return self._whole(session_key, "ZRTP MSK")

    def session_key(self, s0: bytes) -> bytes:
        """ZRTPSess (section 4.5.2)."""
        return self._whole(s0, "ZRTP Session Key")

    def exported_key(self, s0: bytes) -> bytes:
        """For other things than voice (section 4.5.2)."""
        return self._whole(s0, "Exported key")

    def sas_hash(self, s0: bytes) -> bytes:
        """Section 4.5.2: 32 bytes, of which the first four are the sasvalue."""
        return kdf(self.hash, s0, "SAS", bytes(self), 256)

    def retained_secret(self, s0: bytes) -> bytes:
        """The next rs1 (section 4.6.1)."""
        return kdf(self.hash, s0, "retained secret", bytes(self), 8 * RETAINED_SIZE)

    def stream_keys(self, suite: Suite, s0: bytes) -> "StreamKeys":
        """Section 4.5.3."""

        def derive(label: str, bits: int) -> bytes:
            return kdf(self.hash, s0, label, bytes(self), bits)

        def side(role: str) -> RoleKeys:
            key_bits, hash_bits = 8 * suite.cipher.key_size, 8 * self.hash.size
            return RoleKeys(
                SrtpMaster(
                    derive(f"{role} SRTP master key", key_bits),
                    derive(f"{role} SRTP master salt", _SALT_BITS),
                ),
                ConfirmKeys(
                    self.hash, derive(f"{role} HMAC key", hash_bits), derive(f"{role} ZRTP key", key_bits)
                ),
            )

        return StreamKeys(side("Initiator"), side("Responder"))

    def _whole(self, key: bytes, label: str) -> bytes:
        return kdf(self.hash, key, label, bytes(self), 8 * self.hash.size)


@dataclass(frozen=True, slots=True)
class SrtpMaster:
    """SRTP master key (16 or 32 bytes) and master salt (14) of one direction (RFC 3711 section 3.2.1)."""

    key: bytes
    salt: bytes

    def __repr__(self) -> str:
        return "SrtpMaster(...)"


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """What one role sends under."""

    srtp: SrtpMaster
    confirm: ConfirmKeys


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """Both roles'."""

    initiator: RoleKeys
    responder: RoleKeys


def preshared_key(hash_type: HashType, rs1: bytes, auxsecret: bytes = b"", pbxsecret: bytes = b"") -> bytes:
    """Section 4.4.2.2."""
    return hash_type.digest(_counted(rs1) + _counted(auxsecret) + _counted(pbxsecret))


def key_id(hash_type: HashType, preshared: bytes) -> bytes:
    """By which a responder finds the same preshared_key (section 4.4.2.2)."""
    return mac(hash_type, preshared, b"Prsh")[:8]
