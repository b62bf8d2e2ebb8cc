"""How long opening a vault takes whoever has the passphrase, and so at least each guess of whoever has not."""

import statistics

from relay.core import Clock, Entropy, wipe
from relay.identity.vault import COST, create, unlock

ROUNDS = 9


def unlock_seconds(clock: Clock, entropy: Entropy) -> float:
    """Seconds of the wall's clock, median of some rounds, at the cost that ships."""
    passphrase = bytearray(b"four words or more, at random")
    header, made = create(passphrase, entropy, COST)
    made.wipe()
    spent = []
    for _ in range(ROUNDS):
        before = clock.monotonic()
        vault = unlock(header, passphrase)
        spent.append(clock.monotonic() - before)
        vault.wipe()
    wipe(passphrase)
    return statistics.median(spent)
