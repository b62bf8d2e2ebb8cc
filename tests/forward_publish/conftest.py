"""Two people who know each other, and a third."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.core import ManualClock, SeededEntropy
from relay.forward_publish import OutgoingRing, Peer, Prekey, Reply, TokenKey, seal_note, seal_ring
from relay.identity import Identity


@dataclass
class Pair:
    """Alice, who calls, and Bob, who is called."""

    clock: ManualClock
    entropy: SeededEntropy
    alice: Identity
    bob: Identity
    secret: bytes
    prekey: Prekey
    reply: Reply

    @property
    def to_bob(self) -> Peer:
        return Peer(self.bob.public_key, self.secret)

    @property
    def to_alice(self) -> Peer:
        return Peer(self.alice.public_key, self.secret)

    def ring(self, sip: bytes = b"INVITE") -> tuple[bytes, OutgoingRing]:
        return seal_ring(
            self.alice, self.to_bob, self.prekey.public, sip, self.reply, self.clock, self.entropy
        )

    def note(self, sip: bytes = b"BYE") -> bytes:
        return seal_note(self.alice, self.to_bob, self.prekey.public, sip, self.clock, self.entropy)


def make_pair() -> Pair:
    entropy = SeededEntropy("pair")
    clock = ManualClock()
    return Pair(
        clock,
        entropy,
        Identity.generate(entropy),
        Identity.generate(entropy),
        entropy.token(32),
        Prekey.generate(entropy, clock.wall()),
        Reply("a" * 56, TokenKey.generate(entropy).token),
    )


@pytest.fixture
def pair() -> Pair:
    return make_pair()


@pytest.fixture(scope="session")
def new_pair() -> Callable[[], Pair]:
    """For property tests, which need a pair for every example."""
    return make_pair
