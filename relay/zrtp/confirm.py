"""What travels encrypted: Confirm1 and Confirm2 (RFC 6189 section 5.7), and SASrelay (section 5.13).

CFB is what the RFC prescribes; the MAC over the ciphertext is checked before anything is decrypted.
"""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from relay.core import Entropy
from relay.zrtp.errors import ErrorCode, ZrtpError, malformed
from relay.zrtp.hash_chain import IMAGE_SIZE
from relay.zrtp.messages import FRAME_SIZE, MAC_SIZE, MessageType, build
from relay.zrtp.suites import HashType

FOREVER = 0xFFFFFFFF
"""Cache expiration interval, in seconds, of a secret that is kept for good (section 4.9)."""
_IV_SIZE = 16
_SEALED_AT = MAC_SIZE + _IV_SIZE
_ENROLL, _VERIFIED, _ALLOW_CLEAR, _DISCLOSES = 8, 4, 2, 1
_RELAYED_SIZE = 4 + 4 + 32


@dataclass(frozen=True, slots=True)
class Flags:
    """The flag octet (section 4.6)."""

    verified: bool = False
    """V: the sender's user compared the SAS in an earlier call."""
    allow_clear: bool = False
    discloses: bool = False
    """D: the sender's product may give keys away (section 11)."""
    enroll: bool = False

    def octet(self) -> int:
        return (
            self.enroll * _ENROLL
            + self.verified * _VERIFIED
            + self.allow_clear * _ALLOW_CLEAR
            + self.discloses * _DISCLOSES
        )

    @classmethod
    def read(cls, octet: int) -> "Flags":
        enroll = bool(octet & _ENROLL)
        # "(E) implies not (A)" (section 7.3.1).
        allow_clear = bool(octet & _ALLOW_CLEAR) and not enroll
        return cls(bool(octet & _VERIFIED), allow_clear, bool(octet & _DISCLOSES), enroll)


@dataclass(frozen=True, slots=True)
class Confirm:
    """What a Confirm says once it is open.  `signature` is type block and signature, or nothing (section 7.2)."""

    h0: bytes
    flags: Flags
    expiration: int
    signature: bytes = b""

    def plain(self) -> bytes:
        """The bytes to be sealed."""
        word = len(self.signature) // 4 << 8 | self.flags.octet()
        return self.h0 + word.to_bytes(4) + self.expiration.to_bytes(4) + self.signature

    @classmethod
    def read_plain(cls, plain: bytes) -> "Confirm":
        """Raises `ZrtpError`."""
        if len(plain) < IMAGE_SIZE + 8:
            raise malformed("truncated", "5.7")
        word = int.from_bytes(plain[IMAGE_SIZE : IMAGE_SIZE + 4])
        signature = plain[IMAGE_SIZE + 8 :]
        if 4 * (word >> 8 & 0x1FF) != len(signature):
            raise malformed("wrong signature length", "5.7")
        expiration = int.from_bytes(plain[IMAGE_SIZE + 4 : IMAGE_SIZE + 8])
        return cls(plain[:IMAGE_SIZE], Flags.read(word & 0xFF), expiration, signature)


@dataclass(frozen=True, slots=True)
class ConfirmKeys:
    """What one end seals with: mackey and zrtpkey of its role."""

    hash: HashType
    mac_key: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ConfirmKeys(...)"

    def seal(self, kind: MessageType, plain: bytes, entropy: Entropy) -> bytes:
        """A whole message: MAC, initialization vector, ciphertext."""
        vector = entropy.token(_IV_SIZE)
        sealed = Cipher(algorithms.AES(self.key), CFB(vector)).encryptor().update(plain)
        return build(kind, self._mac(sealed) + vector + sealed)

    def open(self, body: bytes) -> bytes:
        """The plain bytes.  Raises `ZrtpError` (malformed, or the code for a bad MAC)."""
        if len(body) < _SEALED_AT + _RELAYED_SIZE:
            raise malformed("truncated", "5.7")
        sealed = body[_SEALED_AT:]
        if not hmac.compare_digest(self._mac(sealed), body[:MAC_SIZE]):
            raise ZrtpError(ErrorCode.BAD_CONFIRM_MAC, "bad Confirm MAC", "4.6", attack=True)
        return Cipher(algorithms.AES(self.key), CFB(body[MAC_SIZE:_SEALED_AT])).decryptor().update(sealed)

    def clear_mac(self) -> bytes:
        """What a GoClear of this end carries (section 4.7.2)."""
        return self._mac(MessageType.GO_CLEAR.value.encode())

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self.mac_key, data, self.hash.digest_name)[:MAC_SIZE]


CONFIRM_SIZE = FRAME_SIZE + _SEALED_AT + IMAGE_SIZE + 8
"""Bytes of a Confirm without a signature: 19 words."""
