"""Which target applies with which libcrypto, and how rounds become one figure."""

from typing import cast

import pytest

from bench.costs import _version
from bench.relays import cost, ratio
from relay.lab.load.measure import Observation


class Costing:
    def __init__(self, microseconds: float) -> None:
        self.microseconds_per_cell = microseconds


def rounds(*costs: float) -> list[Observation]:
    return [cast(Observation, Costing(one)) for one in costs]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("OpenSSL 3.0.19 27 Jan 2026", (3, 0)),
        ("OpenSSL 3.5.1 1 Jul 2025", (3, 5)),
        ("no libcrypto", (0,)),
    ],
)
def test_the_version_is_read_from_the_name(name: str, version: tuple[int, ...]) -> None:
    assert _version(name) == version


def test_one_disturbed_round_does_not_decide() -> None:
    assert cost(rounds(2, 9, 3)) == 3
    assert ratio(rounds(2, 9, 3), rounds(1, 1, 8)) == 3
