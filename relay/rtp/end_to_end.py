"""The end-to-end layer: every body of a keyed call, voice or chaff, is one constant-size AEAD message.

A body is 4 bytes of masked counter, 111 bytes of encrypted content and a 16-byte tag.  The counter is masked
as in RFC 9001 section 5.4, so that a keyed body is 131 bytes that look random, as an idle line's are.
AES-256-GCM because the call key comes out of a post-quantum exchange, and half of 128 bits would then be the
weakest link of the chain.

A call goes through epochs, each with keys of its own (`relay.forward_publish.call_epochs`).  Nothing on the wire says
which epoch a body is of: the counter goes on, and the opener tries the few keys that it may be.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relay.core import Counters, MisuseError, wipe
from relay.rtp.cell import BODY_SIZE, CONTENT_SIZE, COUNTER_SIZE
from relay.rtp.replay import WINDOW_SIZE, ReplayWindow

KEY_SIZE = 32
_SALT_SIZE = 12
_SAMPLE_SIZE = 16
_WIRE_BITS = 8 * COUNTER_SIZE


class _Keys:
    """Everything derived from the 32-byte key of one direction."""

    __slots__ = ("aead", "mask", "salt")

    def __init__(self, key: bytes | bytearray) -> None:
        if len(key) != KEY_SIZE:
            raise MisuseError("an end-to-end key has 32 bytes")
        secret = _expand(key, b"key", 32)
        self.aead = AESGCM(secret)
        wipe(secret)
        self.salt = int.from_bytes(_expand(key, b"salt", _SALT_SIZE))
        # ECB of one block is the bare block cipher that RFC 9001 asks for; the object has no state between
        # blocks.
        secret = _expand(key, b"hp", 32)
        self.mask = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()
        wipe(secret)

    def nonce(self, counter: int) -> bytes:
        return (self.salt ^ counter).to_bytes(_SALT_SIZE)

    def masked(self, counter: int, ciphertext: bytes) -> int:
        """The 32 low bits of `counter`, masked or unmasked."""
        mask = self.mask.update(ciphertext[:_SAMPLE_SIZE])
        return (counter ^ int.from_bytes(mask[:COUNTER_SIZE])) & 0xFFFFFFFF


def _expand(key: bytes | bytearray, label: bytes, length: int) -> bytearray:
    expanded = bytearray(length)
    HKDFExpand(SHA256(), length, b"bayonne end-to-end cell " + label).derive_into(key, expanded)
    return expanded


class EndToEndSealer:
    """Seals contents of one direction of one call; `counter` is the number of the next one."""

    __slots__ = ("_keys", "counter")

    def __init__(self, key: bytes | bytearray, *, counter: int = 0) -> None:
        self._keys = _Keys(key)
        self.counter = counter

    def rekey(self, key: bytes | bytearray) -> None:
        """Go on under the key of the next epoch; the one before is forgotten."""
        self._keys = _Keys(key)

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

    `epoch` counts the epochs that the peer's bodies came under, from 0.  Counters: `opened`, `not_authentic` (chaff and
    random bytes included), `replayed`, `wrong_size`.
    """

    __slots__ = ("_current", "_lowest", "_next", "_previous", "_turned_at", "_window", "counters", "epoch")

    def __init__(self, key: bytes | bytearray) -> None:
        self._current = _Keys(key)
        self._next: _Keys | None = None
        self._previous: _Keys | None = None
        self._turned_at = 0
        self._window = ReplayWindow()
        self._lowest = -1
        self.epoch = 0
        self.counters = Counters(("opened", "not_authentic", "replayed", "wrong_size"))

    def expect(self, key: bytes | bytearray) -> None:
        """The peer may go on under this key, the next epoch's, from now on."""
        self._next = _Keys(key)

    def open(self, body: bytes) -> bytes | None:
        """The content, or None when the body is not authentic or was seen before."""
        if len(body) != BODY_SIZE:
            self.counters.count("wrong_size")
            return None
        masked, ciphertext = int.from_bytes(body[:COUNTER_SIZE]), body[COUNTER_SIZE:]
        for keys in (self._current, self._next, self._previous):
            if keys is None:
                continue
            counter = self._estimate(keys.masked(masked, ciphertext))
            try:
                content = keys.aead.decrypt(keys.nonce(counter), ciphertext, None)
            except InvalidTag:
                continue
            return self._accept(content, counter, keys)
        self.counters.count("not_authentic")
        return None

    def _accept(self, content: bytes, counter: int, keys: _Keys) -> bytes | None:
        if not self._window.accept(counter):
            self.counters.count("replayed")
            return None
        if keys is self._next:
            self._previous, self._current, self._next = self._current, keys, None
            self._turned_at = counter
            self.epoch += 1
        elif self._previous is not None and self._window.highest >= self._turned_at + WINDOW_SIZE:
            # Whatever is still to come of the epoch before would be too late.
            self._previous = None
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
