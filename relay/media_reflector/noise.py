"""The part of the Noise Protocol Framework (revision 34) that a line's handshake needs.

Pattern NKpsk0 with 25519, ChaChaPoly and SHA256: two messages, the responder's static key known beforehand, a
pre-shared key mixed in before anything else.  Section numbers below are the framework's.
docs/adr/0002-noise.md says why it is here at all.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from relay.core import PeerError

PROTOCOL_NAME = b"Noise_NKpsk0_25519_ChaChaPoly_SHA256"
KEY_SIZE = 32
TAG_SIZE = 16


class CipherState:
    """A key and the number of messages under it (section 5.1)."""

    __slots__ = ("_aead", "_nonce", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._aead = ChaCha20Poly1305(key)
        self._nonce = 0

    def encrypt(self, associated_data: bytes, plaintext: bytes) -> bytes:
        return self._aead.encrypt(self._take_nonce(), plaintext, associated_data)

    def decrypt(self, associated_data: bytes, ciphertext: bytes) -> bytes:
        """Raises `PeerError` ("not authentic")."""
        try:
            return self._aead.decrypt(self._take_nonce(), ciphertext, associated_data)
        except InvalidTag:
            raise PeerError("not authentic", "Noise section 5.1") from None

    def _take_nonce(self) -> bytes:
        nonce = bytes(4) + self._nonce.to_bytes(8, "little")
        self._nonce += 1
        return nonce


class SymmetricState:
    """Chaining key and handshake hash (section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "handshake_hash")

    def __init__(self, protocol_name: bytes) -> None:
        start = protocol_name if len(protocol_name) > 32 else protocol_name.ljust(32, b"\0")
        self.handshake_hash = hashlib.sha256(start).digest() if len(start) > 32 else start
        self._chaining_key = self.handshake_hash
        self._cipher: CipherState | None = None

    def copy(self) -> "SymmetricState":
        """The same state before the next message; a `CipherState` is replaced, never advanced, in between."""
        twin = SymmetricState.__new__(SymmetricState)
        twin.handshake_hash = self.handshake_hash
        twin._chaining_key = self._chaining_key
        twin._cipher = self._cipher
        return twin

    def mix_hash(self, data: bytes) -> None:
        self.handshake_hash = hashlib.sha256(self.handshake_hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material, 2)
        self._cipher = CipherState(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, extra, key = _hkdf(self._chaining_key, material, 3)
        self.mix_hash(extra)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        assert self._cipher is not None, "a pre-shared key comes first"
        ciphertext = self._cipher.encrypt(self.handshake_hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        assert self._cipher is not None, "a pre-shared key comes first"
        plaintext = self._cipher.decrypt(self.handshake_hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """(initiator to responder, responder to initiator)."""
        first, second = _hkdf(self._chaining_key, b"", 2)
        return CipherState(first), CipherState(second)


def _hkdf(chaining_key: bytes, material: bytes, count: int) -> list[bytes]:
    """Section 4.3: HMAC-based key derivation with empty info."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    outputs: list[bytes] = []
    last = b""
    for number in range(1, count + 1):
        last = hmac.digest(temporary, last + bytes((number,)), "sha256")
        outputs.append(last)
    return outputs


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        # A low-order point: the shared secret would be zero.
        raise PeerError("bad key", "RFC 7748 section 6.1") from None


class NKpsk0Initiator:
    """-> psk, e, es   then   <- e, ee (sections 7.5 and 9)."""

    __slots__ = ("_ephemeral", "_state")

    def __init__(self, prologue: bytes, psk: bytes, responder_static: bytes, ephemeral: bytes) -> None:
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._state = SymmetricState(PROTOCOL_NAME)
        self._state.mix_hash(prologue)
        self._state.mix_hash(responder_static)
        self._state.mix_key_and_hash(psk)
        public = self._ephemeral.public_key().public_bytes_raw()
        self._state.mix_hash(public)
        # Section 9.2: with a pre-shared key the ephemeral public key goes into the key as well.
        self._state.mix_key(public)
        self._state.mix_key(_exchange(self._ephemeral, responder_static))

    def write(self, payload: bytes) -> bytes:
        """The first message."""
        return self._ephemeral.public_key().public_bytes_raw() + self._state.encrypt_and_hash(payload)

    def read(self, message: bytes) -> bytes:
        """The payload of the answer.  Raises `PeerError`."""
        if len(message) < KEY_SIZE + TAG_SIZE:
            raise PeerError("truncated")
        public = message[:KEY_SIZE]
        self._state.mix_hash(public)
        self._state.mix_key(public)
        self._state.mix_key(_exchange(self._ephemeral, public))
        return self._state.decrypt_and_hash(message[KEY_SIZE:])

    def copy(self) -> "NKpsk0Initiator":
        """The same handshake, so that garbage in place of the answer does not spend it."""
        twin = NKpsk0Initiator.__new__(NKpsk0Initiator)
        twin._ephemeral = self._ephemeral
        twin._state = self._state.copy()
        return twin

    def split(self) -> tuple[CipherState, CipherState]:
        return self._state.split()

    @property
    def handshake_hash(self) -> bytes:
        return self._state.handshake_hash


class NKpsk0Responder:
    """The other side of the same two messages."""

    __slots__ = ("_remote", "_state", "_static")

    def __init__(self, prologue: bytes, psk: bytes, static: X25519PrivateKey) -> None:
        self._static = static
        self._remote = b""
        self._state = SymmetricState(PROTOCOL_NAME)
        self._state.mix_hash(prologue)
        self._state.mix_hash(static.public_key().public_bytes_raw())
        self._state.mix_key_and_hash(psk)

    def read(self, message: bytes) -> bytes:
        """The payload of the first message.  Raises `PeerError`; the state is then spent."""
        if len(message) < KEY_SIZE + TAG_SIZE:
            raise PeerError("truncated")
        self._remote = message[:KEY_SIZE]
        self._state.mix_hash(self._remote)
        self._state.mix_key(self._remote)
        self._state.mix_key(_exchange(self._static, self._remote))
        return self._state.decrypt_and_hash(message[KEY_SIZE:])

    def write(self, payload: bytes, ephemeral: bytes) -> bytes:
        """The answer."""
        private = X25519PrivateKey.from_private_bytes(ephemeral)
        public = private.public_key().public_bytes_raw()
        self._state.mix_hash(public)
        self._state.mix_key(public)
        self._state.mix_key(_exchange(private, self._remote))
        return public + self._state.encrypt_and_hash(payload)

    def split(self) -> tuple[CipherState, CipherState]:
        return self._state.split()

    @property
    def handshake_hash(self) -> bytes:
        return self._state.handshake_hash
