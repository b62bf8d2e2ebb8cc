"""What was wiped is gone from the object, and from whoever else holds it."""

import pytest

from relay.core import passing, wipe


def test_the_object_itself_is_overwritten_and_keeps_its_length() -> None:
    secret = bytearray(b"secret")
    view = memoryview(secret)
    wipe(secret)
    assert bytes(view) == bytes(6)


def test_what_passes_is_zeros_afterwards_whatever_happens() -> None:
    kept = []

    def use() -> None:
        with passing(4) as secret:
            secret[:] = b"1234"
            kept.append(secret)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        use()
    assert kept == [bytearray(4)]
