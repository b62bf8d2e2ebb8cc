"""When lines move away from a reflector that died: uniform, in bounds, the one time telling nothing of the other."""

import math

from hypothesis import given
from hypothesis import strategies as st

from relay.chaff import Scatter
from relay.core import SeededEntropy

COUNT = 2_000


@given(seed=st.integers())
def test_both_times_lie_in_their_ranges(seed: int) -> None:
    scatter, entropy = Scatter(), SeededEntropy(seed)
    assert 0.0 <= scatter.move(entropy) < scatter.moving
    assert scatter.holding <= scatter.release(entropy) < scatter.holding + scatter.releasing


def test_both_are_uniform() -> None:
    """Kolmogorov-Smirnov distance of 2,000 seeded draws, against 1.63 / sqrt(n) (one percent)."""
    scatter, entropy = Scatter(), SeededEntropy("scatter")
    moves = sorted(scatter.move(entropy) / scatter.moving for _ in range(COUNT))
    ends = sorted((scatter.release(entropy) - scatter.holding) / scatter.releasing for _ in range(COUNT))
    for drawn in (moves, ends):
        assert max(abs(value - rank / COUNT) for rank, value in enumerate(drawn)) < 1.63 / math.sqrt(COUNT)


def test_the_one_tells_nothing_of_the_other() -> None:
    scatter, entropy = Scatter(), SeededEntropy("pairs")
    pairs = [(scatter.move(entropy), scatter.release(entropy)) for _ in range(COUNT)]
    middle = scatter.moving / 2, scatter.holding + scatter.releasing / 2
    covariance = sum((move - middle[0]) * (end - middle[1]) for move, end in pairs) / COUNT
    deviation = scatter.moving * scatter.releasing / 12
    assert abs(covariance / deviation) < 4 / math.sqrt(COUNT)
