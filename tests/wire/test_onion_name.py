"""The form of an onion service's name."""

import pytest

from relay.wire import is_onion


def test_a_name_is_56_characters_of_base32_in_small_letters() -> None:
    assert is_onion("abcdefghijklmnopqrstuvwxyz234567" + "a" * 24)


@pytest.mark.parametrize(
    "other",
    ["", "a" * 55, "a" * 57, "a" * 55 + "1", "A" * 56, "a" * 56 + "\n", "a" * 56 + ".onion", "é" * 56],
)
def test_nothing_else_is(other: str) -> None:
    assert not is_onion(other)
