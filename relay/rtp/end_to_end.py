"""The end-to-end layer: every body of a keyed call, voice or chaff, is one constant-size AEAD message.

A body is 4 bytes of masked counter, 111 bytes of encrypted content and a 16-byte tag.  The counter is masked
as in RFC 9001 section 5.4, so that a keyed body is 131 bytes that look random, as an idle line's are.
AES-256-GCM because the call key comes out of a post-quantum exchange, and half of 128 bits would then be the
weakest link of the chain.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.core import Counters, MisuseError
from relay.rtp.cell import BODY_SIZE, CONTENT_SIZE, COUNTER_SIZE
from relay.rtp.replay import ReplayWindow

KEY_SIZE = 32
_SALT_SIZE = 12
_SAMPLE_SIZE = 16
_WIRE_BITS = 8 * COUNTER_SIZE


class _Keys:
    """Everything derived from the 32-byte key of one direction."""

    __slots__ = ("aead", "mask", "salt")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise MisuseError("an end-to-end key has 32 bytes")
        self.aead = AESGCM(_expand(key, b"key", 32))
        self.salt = int.from_bytes(_expand(key, b"salt", _SALT_SIZE))
        # ECB of one block is the bare block cipher that RFC 9001 asks for; the object has no state between
        # blocks.
        hp = algorithms.AES(_expand(key, b"hp", 32))
        self.mask = Cipher(hp, modes.ECB()).encryptor()

    def nonce(self, counter: int) -> bytes:
        return (self.salt ^ counter).to_bytes(_SALT_SIZE)

    def masked(self, counter: int, ciphertext: bytes) -> int:
        """The 32 low bits of `counter`, masked or unmasked."""
        mask = self.mask.update(ciphertext[:_SAMPLE_SIZE])
        return (counter ^ int.from_bytes(mask[:COUNTER_SIZE])) & 0xFFFFFFFF


def _expand(key: bytes, label: bytes, length: int) -> bytes:
    return HKDFExpand(SHA256(), length, b"bayonne end-to-end cell " + label).derive(key)


class EndToEndSealer:
    """Seals contents of one direction of one call; `counter` is the number of the next one."""

    __slots__ = ("_keys", "counter")

    def __init__(self, key: bytes, *, counter: int = 0) -> None:
        self._keys = _Keys(key)
        self.counter = counter

    def seal(self, content: bytes) -> bytes:
        """The body that carries `content` (111 bytes)."""
        if len(content) != CONTENT_SIZE:
            raise MisuseError("a content has 111 bytes")
        counter = self.counter
        self.counter += 1
        ciphertext = self._keys.aead.encrypt(self._keys.nonce(counter), content, None)
        return self._keys.masked(counter, ciphertext).to_bytes(COUNTER_SIZE) + ciphertext


class EndToEndOpener:
    """Opens bodies of one direction of one call.

    Counters: `opened`, `not_authentic` (chaff and random bytes included), `replayed`, `wrong_size`.
    """

    __slots__ = ("_keys", "_lowest", "_window", "counters")

    def __init__(self, key: bytes) -> None:
        self._keys = _Keys(key)
        self._window = ReplayWindow()
        self._lowest = -1
        self.counters = Counters(("opened", "not_authentic", "replayed", "wrong_size"))

    def open(self, body: bytes) -> bytes | None:
        """The content, or None when the body is not authentic or was seen before."""
        if len(body) != BODY_SIZE:
            self.counters.count("wrong_size")
            return None
        ciphertext = body[COUNTER_SIZE:]
        low = self._keys.masked(int.from_bytes(body[:COUNTER_SIZE]), ciphertext)
        counter = self._estimate(low)
        try:
            content = self._keys.aead.decrypt(self._keys.nonce(counter), ciphertext, None)
        except InvalidTag:
            self.counters.count("not_authentic")
            return None
        if not self._window.accept(counter):
            self.counters.count("replayed")
            return None
        self.counters.count("opened")
        self._lowest = counter if self._lowest < 0 else min(self._lowest, counter)
        return content

    def _estimate(self, low: int) -> int:
        """The 64-bit counter nearest to the next expected one with these low bits (RFC 9000 appendix A.3)."""
        expected = self._window.highest + 1
        candidate = (expected & ~0xFFFFFFFF) | low
        half = 1 << (_WIRE_BITS - 1)
        if candidate + half <= expected:
            return candidate + (1 << _WIRE_BITS)
        if candidate > expected + half and candidate >= 1 << _WIRE_BITS:
            return candidate - (1 << _WIRE_BITS)
        return candidate

    @property
    def lost(self) -> int:
        """How many bodies between the first and the latest opened one never came (or were too late)."""
        if self._lowest < 0:
            return 0
        return self._window.highest - self._lowest + 1 - self.counters["opened"]
