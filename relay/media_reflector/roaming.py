"""How a line changes its address or its keys: both are a step to the following epoch.

A cell from a place that is not the line's is answered with a challenge, in a cell, one for one; the old path goes on.
Only who says the challenge back from there, under the following epoch, gets the line.  Nothing is kept about such a
place: the challenge is computed from it.
"""

import copy
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from relay.core import Counters, Entropy
from relay.media_reflector.control import CHALLENGE_SIZE, PUBLIC_SIZE, Control, Operation
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.forwarding.face import Address, DownKeys, Forwarding
from relay.media_reflector.line import Line
from relay.media_reflector.link import CellSender
from relay.rtp.cell import LinkType

REKEY_PAUSE = 60.0
"""Seconds between two rekeyings of a line; an honest agent's are tens of minutes apart."""
REKEYS_AT_ONCE = 32
"""Key exchanges for rekeying between two calls of `Roaming.watch`; who comes later asks again."""
_TRIES = 4
_SECRET_SIZE = 32

DROPS = ("rekey_refused",)
EVENTS = ("challenges_sent", "roams", "rekeys")


class Roaming:
    """The steps of open lines from one epoch to the next."""

    def __init__(self, forwarding: Forwarding, entropy: Entropy, counters: Counters) -> None:
        self._forwarding = forwarding
        self._entropy = entropy
        self._counters = counters
        self._secret = entropy.token(_SECRET_SIZE)
        self._rekeys_left = REKEYS_AT_ONCE

    def watch(self) -> None:
        """Call it every tenth of a second."""
        self._rekeys_left = REKEYS_AT_ONCE

    def proved(self, line: Line, control: Control | None, source: Address) -> bool:
        """Whether what came under the following epoch from `source` says back the challenge that was sent there."""
        if control is None or control.operation is not Operation.PROVE:
            return False
        return hmac.compare_digest(control.field, self._challenge(line, source))

    def challenge(self, line: Line, source: Address, *, following: bool) -> None:
        """Answer one cell from a place that is not the line's.

        Under the following epoch where the cell was: the agent moved, and both ends of its new path may know each
        other.  For a cell of the current epoch the address alone changed, behind a translator, or somebody copies
        cells; that one must not learn what the following epoch looks like.
        """
        if following:
            if line.ahead is None:
                down = line.chain.following.down
                line.ahead = CellSender(down.ssrc, self._entropy, down)
            sender = line.ahead
        else:
            if line.aside is None:
                keys = line.chain.current.challenge()
                line.aside = CellSender(keys.ssrc, self._entropy, keys)
            sender = line.aside
        body = Control(Operation.CHALLENGE, self._challenge(line, source)).to_body(self._entropy)
        if self._forwarding.send(line.slot, sender.seal(LinkType.CONTROL, body), source):
            self._counters.count("challenges_sent")

    def _challenge(self, line: Line, source: Address) -> bytes:
        """Never the same for two places, lines or epochs."""
        epoch = line.chain.current.up
        named = line.number.to_bytes(8) + epoch.ssrc.to_bytes(4) + epoch.salt + source
        return hmac.digest(self._secret, named, "sha256")[:CHALLENGE_SIZE]

    def settle(self, line: Line, source: Address) -> bool:
        """Go on to the following epoch, at `source`.  False when the data plane has the line no more."""
        down: DownKeys | None = None
        # On a slot that we opened ours are under it already: that is what the other end followed.
        if not line.begun_here:
            following = line.chain.following
            # The data plane counts on where challenges stopped: a nonce is used once.
            sender = line.ahead or CellSender(following.down.ssrc, self._entropy)
            down = sender.continued(following.down)
        if not self._forwarding.settle(line.number, down, source, advance=True):
            return False
        line.chain.advance()
        line.ahead = line.aside = None
        line.rekey_answer = b""
        if source != line.address:
            self._counters.count("roams")
        line.address = source
        self._forwarding.prepare(line.number, line.incoming(line.chain.following))
        return True

    def rekey(self, line: Line, public: bytes, now: float) -> Control | None:
        """What to say to REKEY; None when it is not the time for it, or nothing is left to say."""
        if public == line.rekey_public:
            return Control(Operation.REKEYED, line.rekey_answer) if line.rekey_answer else None
        # Under an epoch that challenges were sealed with, another stir would tear both ends apart.
        if line.ahead is not None or now - line.rekeyed_at < REKEY_PAUSE or not self._rekeys_left:
            self._counters.count("rekey_refused")
            return None
        self._rekeys_left -= 1
        for _ in range(_TRIES):
            if (stirred := self._stir(line.chain, public)) is None:
                break
            answer, chain = stirred
            # The SSRC that follows is derived: taken by another line, about once in a million rekeyings.
            if self._forwarding.prepare(line.number, chain.following.up):
                line.chain = chain
                line.rekey_public, line.rekey_answer, line.rekeyed_at = public, answer, now
                self._counters.count("rekeys")
                return Control(Operation.REKEYED, answer)
        self._counters.count("rekey_refused")
        return None

    def _stir(self, chain: EpochChain, public: bytes) -> tuple[bytes, EpochChain] | None:
        """(our half, the chain with what both halves make); None when `public` is no good."""
        private = X25519PrivateKey.from_private_bytes(self._entropy.token(PUBLIC_SIZE))
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            return None
        stirred = copy.copy(chain)
        stirred.stir(shared)
        return private.public_key().public_bytes_raw(), stirred
