"""The part of the Noise Protocol Framework (revision 34) that opening a line or a trunk needs.

Patterns NKpsk0 and KKpsk0 with 25519, ChaChaPoly and SHA256: two messages, the responder's static key known beforehand
(with KK the initiator's as well), a pre-shared key mixed in before anything else.  Section numbers below are the
framework's.  docs/adr/0002-noise.md says why it is here at all.
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.core import PeerError

KEY_SIZE = 32
TAG_SIZE = 16
_SHA256 = SHA256()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake pattern as section 7 writes it: the tokens of its two messages, after "psk, e" and "e" which both
    patterns have in common, and whether the initiator's static key is known beforehand too."""

    name: bytes
    first: tuple[str, ...]
    second: tuple[str, ...]
    initiator_known: bool

    def start(self, prologue: bytes, initiator_static: bytes, responder_static: bytes) -> bytes:
        """The handshake hash before the first message (section 5.3).

        It is the same for every handshake with the same keys, so whoever answers many keeps it.  `initiator_static`
        is left out where the pattern does not know it.
        """
        digest = hashlib.sha256(_first_hash(self.name) + prologue).digest()
        if self.initiator_known:
            digest = hashlib.sha256(digest + initiator_static).digest()
        return hashlib.sha256(digest + responder_static).digest()


NK = Pattern(b"Noise_NKpsk0_25519_ChaChaPoly_SHA256", ("es",), ("ee",), initiator_known=False)
KK = Pattern(b"Noise_KKpsk0_25519_ChaChaPoly_SHA256", ("es", "ss"), ("ee", "se"), initiator_known=True)


def _first_hash(name: bytes) -> bytes:
    return hashlib.sha256(name).digest() if len(name) > 32 else name.ljust(32, b"\0")


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
    """Chaining key, handshake hash and the key for the next payload (section 5.2).

    Every payload of our patterns comes right after a key was mixed in, so each key encrypts one payload.
    """

    __slots__ = ("_chaining_key", "_key", "handshake_hash")

    def __init__(self, name: bytes, start: bytes) -> None:
        self.handshake_hash = start
        self._chaining_key = _first_hash(name)
        self._key = b""

    def copy(self) -> "SymmetricState":
        twin = SymmetricState.__new__(SymmetricState)
        twin.handshake_hash = self.handshake_hash
        twin._chaining_key = self._chaining_key
        twin._key = self._key
        return twin

    def mix_hash(self, data: bytes) -> None:
        self.handshake_hash = hashlib.sha256(self.handshake_hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        outputs = _hkdf(self._chaining_key, material, 2)
        self._chaining_key, self._key = outputs[:32], outputs[32:]

    def mix_key_and_hash(self, material: bytes) -> None:
        outputs = _hkdf(self._chaining_key, material, 3)
        self._chaining_key, self._key = outputs[:32], outputs[64:]
        self.mix_hash(outputs[32:64])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self._take_cipher().encrypt(self.handshake_hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._take_cipher().decrypt(self.handshake_hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The keys (initiator to responder, responder to initiator)."""
        outputs = _hkdf(self._chaining_key, b"", 2)
        return outputs[:32], outputs[32:]

    def _take_cipher(self) -> CipherState:
        assert self._key, "a key is mixed in before every payload"
        key, self._key = self._key, b""
        return CipherState(key)


def _hkdf(chaining_key: bytes, material: bytes, count: int) -> bytes:
    """Section 4.3, `count` outputs of 32 bytes in a row: RFC 5869 with the chaining key as salt and empty info."""
    return HKDF(_SHA256, 32 * count, chaining_key, b"").derive(material)


def read_public_key(data: bytes) -> X25519PublicKey:
    """Raises `PeerError` when `data` does not have the size of a key."""
    try:
        return X25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise PeerError("bad key", "RFC 7748 section 5") from None


def shared_secret(private: X25519PrivateKey, public: X25519PublicKey) -> bytes:
    """Raises `PeerError` on a low-order point: the shared secret would be zero."""
    try:
        return private.exchange(public)
    except ValueError:
        raise PeerError("bad key", "RFC 7748 section 6.1") from None


class _Handshake:
    """What both sides have in common: keys, and the state they are mixed into."""

    __slots__ = ("_ephemeral", "_pattern", "_remote_ephemeral", "_remote_static", "_state", "_static")

    def __init__(
        self,
        pattern: Pattern,
        start: bytes,
        psk: bytes,
        static: X25519PrivateKey | None,
        remote_static: X25519PublicKey | None,
    ) -> None:
        """`start` is what `Pattern.start` gives."""
        self._pattern = pattern
        self._static = static
        self._remote_static = remote_static
        self._ephemeral: X25519PrivateKey | None = None
        self._remote_ephemeral: X25519PublicKey | None = None
        self._state = SymmetricState(pattern.name, start)
        self._state.mix_key_and_hash(psk)

    @property
    def handshake_hash(self) -> bytes:
        return self._state.handshake_hash

    def split(self) -> tuple[bytes, bytes]:
        """The keys (initiator to responder, responder to initiator)."""
        return self._state.split()

    def _write(self, tokens: tuple[str, ...], payload: bytes, ephemeral: bytes) -> bytes:
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        public = self._ephemeral.public_key().public_bytes_raw()
        self._mix_ephemeral(public)
        self._mix(tokens)
        return public + self._state.encrypt_and_hash(payload)

    def _read(self, tokens: tuple[str, ...], message: bytes) -> bytes:
        if len(message) < KEY_SIZE + TAG_SIZE:
            raise PeerError("truncated")
        public = message[:KEY_SIZE]
        self._remote_ephemeral = read_public_key(public)
        self._mix_ephemeral(public)
        self._mix(tokens)
        return self._state.decrypt_and_hash(message[KEY_SIZE:])

    def _mix_ephemeral(self, public: bytes) -> None:
        # Section 9.2: with a pre-shared key the ephemeral public key goes into the key as well.
        self._state.mix_hash(public)
        self._state.mix_key(public)

    def _mix(self, tokens: tuple[str, ...]) -> None:
        for token in tokens:
            private, public = self._keys(token)
            assert private is not None, "the pattern wants a key that was not given"
            assert public is not None, "the pattern wants a key that was not given"
            self._state.mix_key(shared_secret(private, public))

    def _keys(self, token: str) -> tuple[X25519PrivateKey | None, X25519PublicKey | None]:
        """Our private and their public key of a token; its first letter is the initiator's key (section 7.1)."""
        raise NotImplementedError


class Initiator(_Handshake):
    """Writes the first message, reads the second."""

    __slots__ = ()

    def write(self, payload: bytes, ephemeral: bytes) -> bytes:
        """The first message.  Raises `PeerError` when the responder's static key is of low order."""
        return self._write(self._pattern.first, payload, ephemeral)

    def read(self, message: bytes) -> bytes:
        """The payload of the answer.  Raises `PeerError`; the state is then spent."""
        return self._read(self._pattern.second, message)

    def copy(self) -> "Initiator":
        """The same handshake, so that garbage in place of the answer does not spend it."""
        twin = Initiator.__new__(Initiator)
        for name in _Handshake.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._state = self._state.copy()
        return twin

    def _keys(self, token: str) -> tuple[X25519PrivateKey | None, X25519PublicKey | None]:
        ours = self._ephemeral if token[0] == "e" else self._static
        return ours, self._remote_ephemeral if token[1] == "e" else self._remote_static


class Responder(_Handshake):
    """Reads the first message, writes the second."""

    __slots__ = ()

    def read(self, message: bytes) -> bytes:
        """The payload of the first message.  Raises `PeerError`; the state is then spent."""
        return self._read(self._pattern.first, message)

    def write(self, payload: bytes, ephemeral: bytes) -> bytes:
        """The answer.  Raises `PeerError` when the initiator's keys are of low order."""
        return self._write(self._pattern.second, payload, ephemeral)

    def _keys(self, token: str) -> tuple[X25519PrivateKey | None, X25519PublicKey | None]:
        ours = self._ephemeral if token[1] == "e" else self._static
        return ours, self._remote_ephemeral if token[0] == "e" else self._remote_static
