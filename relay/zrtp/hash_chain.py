"""The hash chain H0 to H3, and the MACs that its images key (RFC 6189 sections 8.1.1, 9).

Always SHA-256, whatever hash was agreed on (section 5.1.2.2).  H3 stands in Hello, H2 in Commit, H1 in DHPart, H0 in
Confirm: each proves to come from where the one before it came, and keys the MAC of a message that was sent before.
"""

import hashlib
import hmac

from relay.core import Entropy, MisuseError
from relay.zrtp.errors import ErrorCode, ZrtpError
from relay.zrtp.messages import MAC_SIZE

IMAGE_SIZE = 32
_LAST = 3


def image_after(image: bytes, steps: int) -> bytes:
    """The image `steps` further on towards H3."""
    for _ in range(steps):
        image = hashlib.sha256(image).digest()
    return image


class HashChain:
    """Our own chain, fresh for every Hello."""

    __slots__ = ("_images",)

    def __init__(self, entropy: Entropy) -> None:
        h0 = entropy.token(IMAGE_SIZE)
        self._images = tuple(image_after(h0, steps) for steps in range(_LAST + 1))

    def __getitem__(self, level: int) -> bytes:
        """H0 to H3."""
        return self._images[level]

    def sign(self, message: bytes, level: int) -> bytes:
        """`message`, whose MAC is still to come, with the MAC under this level's image at its end."""
        return message + implicit_mac(self._images[level], message)


def implicit_mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256, its first 64 bits (section 8.1.1)."""
    return hmac.digest(key, message, "sha256")[:MAC_SIZE]


class PeerChain:
    """What is known of the peer's chain: nothing but H3 at first, then more as it is revealed."""

    __slots__ = ("_image", "_level")

    def __init__(self, h3: bytes) -> None:
        self._level = _LAST
        self._image = h3

    def reveals(self, level: int, image: bytes) -> bool:
        """Whether `image` is H(level) of this chain.  Anybody can say back what is known already; nobody but the
        peer knows what lies below."""
        if level >= self._level:
            return hmac.compare_digest(self[level], image)
        return hmac.compare_digest(image_after(image, self._level - level), self._image)

    def take(self, level: int, image: bytes) -> None:
        """Keep a revealed image.  Raises `ZrtpError` where it is not of this chain (section 9)."""
        if not self.reveals(level, image):
            raise ZrtpError(ErrorCode.HELLO_MISMATCH, "hash image of another chain", "9")
        if level < self._level:
            self._level, self._image = level, image

    def __getitem__(self, level: int) -> bytes:
        """H(level), where it is known."""
        if level < self._level:
            raise MisuseError("a hash image that was not revealed yet")
        return image_after(self._image, level - self._level)

    def check(self, message: bytes, level: int) -> None:
        """Raises `ZrtpError`, an attack, where the MAC at the end of an earlier message is wrong (section 8.1.1)."""
        if not hmac.compare_digest(implicit_mac(self[level], message[:-MAC_SIZE]), message[-MAC_SIZE:]):
            raise ZrtpError(ErrorCode.HELLO_MISMATCH, "wrong MAC in an earlier message", "8.1.1", attack=True)
