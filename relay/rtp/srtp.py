"""SRTP with AEAD_AES_128_GCM (RFC 7714), key derivation and packet index of RFC 3711.

Where a packet does not pass, a reason comes back instead of an exception: this is the hot path, and a
stranger may send as many such packets as they like.
"""

from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core import MisuseError
from relay.rtp.replay import ReplayWindow

MASTER_KEY_SIZE = 16
MASTER_SALT_SIZE = 12
TAG_SIZE = 16

_LABEL_ENCRYPTION = 0
_LABEL_AUTHENTICATION = 1
_LABEL_SALT = 2
_DERIVATION_SALT_SIZE = 14
_HALF = 1 << 15


class SrtpDrop(StrEnum):
    """Why a packet was not opened."""

    TRUNCATED = "truncated"
    REPLAYED = "replayed"
    NOT_AUTHENTIC = "not_authentic"


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Encryption key and salt of one SRTP stream (RFC 3711 section 4.3)."""

    key: bytes
    salt: bytes


def derive(master_key: bytes, master_salt: bytes, label: int, length: int) -> bytes:
    """AES-CM key derivation with a key derivation rate of zero (RFC 3711 section 4.3.1 and 4.3.3)."""
    # RFC 7714 section 11: the 96-bit salt of an AEAD is shifted up to the 112 bits of the key derivation.
    salt = int.from_bytes(master_salt.ljust(_DERIVATION_SALT_SIZE, b"\0"))
    initial = ((salt ^ (label << 48)) << 16).to_bytes(16)
    keystream = Cipher(algorithms.AES(master_key), modes.CTR(initial)).encryptor()
    return keystream.update(bytes(length))


def derive_session_keys(master_key: bytes, master_salt: bytes) -> SessionKeys:
    """Session key (16 bytes) and salt (12 bytes) for AEAD_AES_128_GCM."""
    if (len(master_key), len(master_salt)) != (MASTER_KEY_SIZE, MASTER_SALT_SIZE):
        raise MisuseError("AEAD_AES_128_GCM takes a 16-byte master key and a 12-byte master salt")
    # Both are in the first block of their keystreams, so one key schedule serves both: a line needs four of them.
    salt = int.from_bytes(master_salt) << 32
    blocks = b"".join((salt ^ label << 64).to_bytes(16) for label in (_LABEL_ENCRYPTION, _LABEL_SALT))
    streams = Cipher(algorithms.AES(master_key), modes.ECB()).encryptor().update(blocks)
    return SessionKeys(streams[:MASTER_KEY_SIZE], streams[16 : 16 + MASTER_SALT_SIZE])


class AeadSrtp:
    """One direction of one stream (one SSRC): either its sender or its receiver.

    The sender's first sequence number must lie below 2**15, so that a receiver who misses the first packets
    still starts with the right rollover counter (RFC 3711 section 3.3.1).
    """

    __slots__ = ("_aead", "_rollover_counter", "_salt", "_sequence_number", "_window")

    def __init__(self, keys: SessionKeys, *, rollover_counter: int = 0) -> None:
        self._aead = AESGCM(keys.key)
        self._salt = int.from_bytes(keys.salt)
        self._rollover_counter = rollover_counter
        self._sequence_number = -1
        self._window = ReplayWindow()

    def protect(self, header: bytes, payload: bytes) -> bytes:
        """The SRTP packet for one RTP packet.  Sequence numbers must go up by one from call to call."""
        sequence_number = int.from_bytes(header[2:4])
        if sequence_number != (self._sequence_number + 1) & 0xFFFF and self._sequence_number >= 0:
            # A nonce used twice would give the key away; nothing is worth that.
            raise MisuseError("a sequence number out of order")
        if sequence_number < self._sequence_number:
            self._rollover_counter += 1
        self._sequence_number = sequence_number
        nonce = self._nonce(header, self._rollover_counter << 16 | sequence_number)
        return header + self._aead.encrypt(nonce, payload, header)

    def unprotect(self, packet: bytes, header_size: int = 12) -> bytes | SrtpDrop:
        """The RTP payload, or why there is none."""
        if len(packet) < header_size + TAG_SIZE:
            return SrtpDrop.TRUNCATED
        index = self._estimate(int.from_bytes(packet[2:4]))
        if index < 0 or not self._window.fresh(index):
            return SrtpDrop.REPLAYED
        header = packet[:header_size]
        try:
            payload = self._aead.decrypt(self._nonce(header, index), packet[header_size:], header)
        except InvalidTag:
            return SrtpDrop.NOT_AUTHENTIC
        self._window.accept(index)
        return payload

    def _nonce(self, header: bytes, index: int) -> bytes:
        """RFC 7714 section 8.1: two zero bytes, SSRC, rollover counter, sequence number; exclusive or with
        the salt."""
        return (self._salt ^ (int.from_bytes(header[8:12]) << 48 | index)).to_bytes(MASTER_SALT_SIZE)

    def _estimate(self, sequence_number: int) -> int:
        """The packet index nearest to the highest one so far (RFC 3711 section 3.3.1); below zero: before the
        start."""
        highest = self._window.highest
        if highest < 0:
            return self._rollover_counter << 16 | sequence_number
        rollover_counter, last = highest >> 16, highest & 0xFFFF
        if last < _HALF:
            if sequence_number - last > _HALF:
                rollover_counter -= 1
        elif last - _HALF > sequence_number:
            rollover_counter += 1
        return (rollover_counter << 16) + sequence_number
