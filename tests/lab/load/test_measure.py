"""A short load on real data planes: the counts of both ends agree, whatever the machine is doing meanwhile."""

import pytest

from relay.core import SystemClock, TransportUnavailable
from relay.lab.load.library import load_library
from relay.lab.load.measure import Load, observe_forwarding
from relay.lab.load.processes import Cores
from relay.media_reflector.forwarding import load_forwarding
from tests.native_code import absent


@pytest.mark.alone
@pytest.mark.parametrize("prefer", ["plain", "native"])
def test_counts_of_both_ends_agree(prefer: str) -> None:
    try:
        load_library()
        load_forwarding(prefer)
    except TransportUnavailable as error:
        absent(str(error))
    seen = observe_forwarding(
        40, 0.6, SystemClock(), prefer=prefer, generators=2, opened_every=1, warm=0.2, jitter=0.002
    )
    assert seen.counts["sent"] > 0
    assert seen.counters["cells_received"] == seen.counts["sent"]
    assert seen.loss == 0
    assert seen.counts["opened"] == seen.counts["received"] > 0
    assert seen.counts["bodies"] > 0
    for name in ("foreign", "not_authentic", "reordered", "not_stamped"):
        assert seen.counts[name] == 0, name
    assert seen.cpu_seconds > 0
    assert seen.microseconds_per_cell > 0


def test_pairs_stay_with_one_generator() -> None:
    everywhere = Cores(frozenset({0}), frozenset({0}))
    with Load(10, everywhere, generators=4) as load:
        assert load.lines_per_port == 4
        assert len(load.ports) == 3
    with Load(2, everywhere, generators=4) as load:
        assert len(load.ports) == 1
