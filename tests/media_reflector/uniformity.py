"""How far bytes are from uniformly random ones: chi-square."""

from collections import Counter

LIMIT = 400.0
"""For `chi_square`: 255 degrees of freedom, p about 1e-8."""
POSITION_LIMIT = 60.0
"""For `at_position`: 15 degrees of freedom, p about 1e-7."""


def chi_square(data: bytes) -> float:
    """Of byte frequencies, over at least 200,000 bytes."""
    assert len(data) >= 200_000
    counts = Counter(data)
    expected = len(data) / 256
    return sum((counts[value] - expected) ** 2 / expected for value in range(256))


def at_position(cells: list[bytes], position: int) -> float:
    """Of one position over many cells, in 16 classes."""
    counts = Counter(cell[position] >> 4 for cell in cells)
    expected = len(cells) / 16
    return sum((counts[value] - expected) ** 2 / expected for value in range(16))
