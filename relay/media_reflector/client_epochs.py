"""Under which keys an agent's line sends and listens, and how it goes on from one epoch to the next.

It always listens to the current epoch and the following one, for what a reflector sends while it is not clear yet at
which of them it is.  It sends under the following one (`ahead`) from the moment it moves or was rekeyed; the
reflector's first cell there makes that the current one.
"""

from enum import Enum, auto

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from relay.core import Entropy
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.forwarding.face import UpKeys
from relay.media_reflector.link import CellSender, cell_ssrc, opener
from relay.rtp.srtp import AeadSrtp, SrtpDrop

_PRIVATE_SIZE = 32


class Era(Enum):
    """Which keys a cell came under."""

    BEFORE = auto()
    """The epoch that was left: cells that were overtaken on their way."""
    CURRENT = auto()
    CURRENT_CHALLENGE = auto()
    """Answers to cells of the current epoch that came from an address which is not the line's."""
    FOLLOWING = auto()
    FOLLOWING_CHALLENGE = auto()
    """As CURRENT_CHALLENGE, from a reflector that is at the following epoch already."""


class AgentEpochs:
    """The agent's end of a line's chain.  `sender` makes the cells of whatever epoch it sends under."""

    def __init__(self, chain: EpochChain, sender: CellSender, entropy: Entropy) -> None:
        """`sender` carried the handshake; its header goes on under the first epoch."""
        self.sender = sender
        self.ahead = False
        self._entropy = entropy
        self._chain = chain
        self._private: X25519PrivateKey | None = None
        self._ears: dict[Era, tuple[int, AeadSrtp]] = {}
        sender.keys = opener(chain.current.up)
        self._listen(Era.CURRENT, chain.current.down)
        self._listen(Era.CURRENT_CHALLENGE, chain.current.challenge())
        self._listen(Era.FOLLOWING, chain.following.down)

    def _listen(self, era: Era, keys: UpKeys) -> None:
        self._ears[era] = keys.ssrc, opener(keys)

    def open(self, cell: bytes) -> tuple[Era, bytes | SrtpDrop] | None:
        """Link type and body, or why there are none; None when the SSRC is none of this line's."""
        ssrc = cell_ssrc(cell)
        for era, (known, keys) in self._ears.items():
            if known == ssrc:
                return era, keys.unprotect(cell)
        return None

    def go_ahead(self) -> None:
        """Send under the following epoch from now on."""
        if not self.ahead:
            self.ahead = True
            following = self._chain.following
            self.sender = CellSender(following.up.ssrc, self._entropy, following.up)
            self._listen(Era.FOLLOWING_CHALLENGE, following.challenge())

    def arrive(self) -> None:
        """The reflector is at the following epoch too: it is the current one."""
        assert self.ahead, "the reflector never goes first"
        self._chain.advance()
        self.ahead = False
        ears = self._ears
        self._ears = {
            Era.CURRENT: ears[Era.FOLLOWING],
            Era.CURRENT_CHALLENGE: ears[Era.FOLLOWING_CHALLENGE],
            Era.BEFORE: ears[Era.CURRENT],
        }
        self._listen(Era.FOLLOWING, self._chain.following.down)

    def forget_before(self) -> None:
        """Whatever was overtaken has come by now: drop the keys of the epoch that was left."""
        self._ears.pop(Era.BEFORE, None)

    @property
    def rekeying(self) -> bool:
        """Whether our half of an exchange is out and the other one has not come."""
        return self._private is not None

    def rekey(self) -> bytes:
        """Our half of an X25519 exchange; the same one until the other half came."""
        if self._private is None:
            self._private = X25519PrivateKey.from_private_bytes(self._entropy.token(_PRIVATE_SIZE))
        return self._private.public_key().public_bytes_raw()

    def forget_rekey(self) -> None:
        """The other half counts no more, should it come."""
        self._private = None

    def rekeyed(self, public: bytes) -> bool:
        """Take the reflector's half and send under what both make.  False when it was not asked for, or is no good."""
        if self._private is None or self.ahead:
            return False
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            return False
        self._private = None
        self._chain.stir(shared)
        self._listen(Era.FOLLOWING, self._chain.following.down)
        self.go_ahead()
        return True
