"""A small attack on a real reflector: everything that was sent is accounted for."""

from pathlib import Path

import pytest

from bench.flood.attack import PHASES, Attack
from bench.flood.generator import build
from relay.core import SystemClock, SystemEntropy, TransportUnavailable
from relay.media_reflector.forwarding import load_forwarding
from tests.native_code import absent


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_every_datagram_is_accounted_for(tmp_path: Path, workers: int) -> None:
    try:
        load_forwarding("native")
        build(tmp_path / "flood")
    except TransportUnavailable as missing:
        absent(str(missing))
    everything = next(phase for phase in PHASES if len(phase.kinds) > 1)
    with Attack(
        40,
        5000,
        tmp_path / "flood",
        tmp_path,
        SystemClock(),
        SystemEntropy(),
        workers=workers,
        first_messages=20,
        newcomers=500,
    ) as attack:
        calm, stormy = attack.go_through(PHASES[0], 1.5), attack.go_through(everything, 2.0)
    assert calm.flood is None
    assert stormy.flood is not None
    assert stormy.flood.sent > 2000
    for found in (calm, stormy):
        assert found.unfated == 0
        assert found.vanished == 0
        # A busy machine may make agents late; nobody is kept out.
        assert found.newcomers.failed == 0
        assert found.newcomers.seconds
    counted = stormy.observed.counters
    reasons = ("wrong_size", "unknown_ssrc", "replayed", "not_authentic", "stranger_limited")
    assert not [reason for reason in reasons if not counted[reason]]
    assert len(attack.memory.samples) > 20
