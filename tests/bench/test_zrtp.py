"""The bench of ZRTP's exchange measures whole exchanges, and notices when one is slow or never ends."""

import pytest

from bench import zrtp
from relay.core import SystemClock
from relay.zrtp import KeyAgreementType


def test_rows_are_there_and_hold_for_a_few_exchanges() -> None:
    rows = list(zrtp.measure(20, SystemClock()))
    targets = [row for row in rows if row.target]
    assert len(targets) == 2
    assert all(row.holds and row.value is not None and row.value > 0.3 for row in targets)


def test_a_path_that_loses_everything_never_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zrtp, "LOSS", 1.1)
    assert zrtp.Call(KeyAgreementType.X255, "lost", cells=True).run() == float("inf")


def test_a_longer_path_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    short = zrtp.Call(KeyAgreementType.X255, "path", cells=False).run()
    monkeypatch.setattr(zrtp, "ONE_WAY", 0.5)
    assert zrtp.Call(KeyAgreementType.X255, "path", cells=False).run() > 3.0 > short
