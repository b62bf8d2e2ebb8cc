"""What unlocking takes is told as a row, of rounds at the cost that ships."""

import pytest

from bench.quality.__main__ import unlocking
from bench.quality.unlocking import unlock_seconds
from relay.core import ManualClock, SystemEntropy
from relay.identity.vault import COST, Cost, Vault, create, unlock
from tests.agent.vaults import CHEAP


def test_the_median_of_the_rounds_at_the_cost_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spent, asked = ManualClock(), iter([9.0, *[1.0] * 4, *[2.0] * 4]), list[Cost]()

    def timed(header: bytes, passphrase: bytearray) -> Vault:
        clock.advance(next(spent))
        return unlock(header, passphrase)

    def cheap(passphrase: bytearray, entropy: SystemEntropy, cost: Cost) -> tuple[bytes, Vault]:
        asked.append(cost)
        return create(passphrase, entropy, CHEAP)

    monkeypatch.setattr("bench.quality.unlocking.unlock", timed)
    monkeypatch.setattr("bench.quality.unlocking.create", cheap)
    assert unlock_seconds(clock, SystemEntropy()) == 2.0
    assert asked == [COST]


def test_the_row_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, holds in ((1.0, True), (4.0, False)):
        monkeypatch.setattr("bench.quality.__main__.unlock_seconds", lambda *_, told=seconds: told)
        found = unlocking()
        assert (found.value, found.holds, found.target) == (seconds, holds, "at most 3 s")
        assert "256 MiB" in found.how
