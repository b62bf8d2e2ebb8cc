"""The epochs of a line: one set of link keys and SSRCs after the other, both ends deriving the same.

A chain of 32 bytes is ratcheted one way with HKDF-Expand (RFC 5869): what it was is forgotten, so whoever reads a
machine's memory today cannot open what was recorded before.  Under each epoch a direction has an SRTP master key and
master salt, from which RFC 3711 section 4.3 makes the session keys, and an SSRC.  SSRCs that follow are derived too, so
that nothing on the wire links the one path to the next.
"""

import hmac

from relay.media_reflector.forwarding.face import UpKeys
from relay.rtp.srtp import MASTER_KEY_SIZE, MASTER_SALT_SIZE, derive_session_keys

CHAIN_SIZE = 32
_SSRC_AT = MASTER_KEY_SIZE + MASTER_SALT_SIZE
_EPOCH = b"bayonne line epoch"
_NEXT = b"bayonne line next"
_UP = b"bayonne line up"
_DOWN = b"bayonne line down"
_CHALLENGE = b"bayonne line challenge"


def expand(secret: bytes, label: bytes) -> bytes:
    """32 bytes of HKDF-Expand with SHA-256 (RFC 5869 section 2.3: for one block a single HMAC)."""
    return hmac.digest(secret, label + b"\x01", "sha256")


class Epoch:
    """Keys and SSRCs of both directions.  `up` is always from the agent (or from whoever opened the trunk).

    A direction's keys are made when they are first asked for: a line that is being opened needs one of four.
    """

    __slots__ = ("_down", "_secret", "_ssrcs", "_up")

    def __init__(self, secret: bytes, ssrcs: tuple[int, int] | None = None) -> None:
        """`ssrcs` (up, down) where they were chosen and not derived."""
        self._secret = secret
        self._ssrcs = ssrcs
        self._up: UpKeys | None = None
        self._down: UpKeys | None = None

    @property
    def up(self) -> UpKeys:
        if self._up is None:
            self._up = self._direction(_UP, 0)
        return self._up

    @property
    def down(self) -> UpKeys:
        if self._down is None:
            self._down = self._direction(_DOWN, 1)
        return self._down

    def challenge(self) -> UpKeys:
        """What seals the reflector's challenges to an address that cells of this very epoch came from: an SSRC of their
        own, because somebody who copies cells can have such a challenge sent to any place, and must not see there what
        the line will be called once it really moves."""
        return self._derive(_CHALLENGE, None)

    def _direction(self, label: bytes, which: int) -> UpKeys:
        return self._derive(label, None if self._ssrcs is None else self._ssrcs[which])

    def _derive(self, label: bytes, ssrc: int | None) -> UpKeys:
        """16 bytes of master key, 12 of master salt, 4 of SSRC where none was chosen."""
        material = expand(self._secret, label)
        keys = derive_session_keys(material[:MASTER_KEY_SIZE], material[MASTER_KEY_SIZE:_SSRC_AT])
        return UpKeys(int.from_bytes(material[_SSRC_AT:]) if ssrc is None else ssrc, keys.key, keys.salt)


class EpochChain:
    """A line's current epoch and the one that follows.  Rekeying and roaming both move to the following one.

    Both ends hold equal chains as long as they `stir` the same secrets at the same epoch.
    """

    __slots__ = ("_chain", "_following", "current")

    def __init__(self, chain: bytes, ssrcs: tuple[int, int] | None = None) -> None:
        """`ssrcs` (up, down) are those of the first epoch where the handshake chose them."""
        self.current = Epoch(expand(chain, _EPOCH), ssrcs)
        self._chain = expand(chain, _NEXT)
        self._following: Epoch | None = None

    @property
    def following(self) -> Epoch:
        """The epoch that `advance` makes the current one; another one after `stir`."""
        if self._following is None:
            self._following = Epoch(expand(self._chain, _EPOCH))
        return self._following

    def advance(self) -> None:
        """Move on: the following epoch is the current one, and the one before cannot be derived any more."""
        self.current = self.following
        self._chain = expand(self._chain, _NEXT)
        self._following = None

    def stir(self, shared: bytes) -> None:
        """Mix a Diffie-Hellman result into the following epoch and all after it (RFC 5869 section 2.2), so that who
        knew the chain until now knows it no more."""
        self._chain = hmac.digest(self._chain, shared, "sha256")
        self._following = None
