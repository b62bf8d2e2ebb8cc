"""The key file's content."""

from typing import Any

import pytest

from relay.core import MisuseError, SeededEntropy
from relay.media_reflector import ReflectorKeys, ReflectorReference, verify_descriptor
from relay.wire import decode, encode


def test_keys_survive_the_file() -> None:
    keys = ReflectorKeys.generate(SeededEntropy(1))
    again = decode(encode(keys), ReflectorKeys, limit=4096)
    assert again == keys
    assert again.valid
    assert again.public_identity == keys.public_identity


def test_damaged_keys_are_not_valid() -> None:
    assert not ReflectorKeys(1, bytes(32), bytes(32), bytes(95)).valid
    assert not ReflectorKeys(2, bytes(32), bytes(32), bytes(96)).valid


WALL = 1_800_000_000.0
KEYS = ReflectorKeys.generate(SeededEntropy(2))
V4, V6 = ("192.0.2.1", 7210), ("2001:db8::1", 7210)


def test_a_descriptor_says_what_its_operator_set() -> None:
    backup = str(ReflectorReference("b" * 56, bytes(32)))
    trunks = [(bytes([9]) * 32, 20), (bytes([3]) * 32, 10)]
    signed = KEYS.signed_descriptor(
        "a" * 56, [V6, V4], WALL, capacity=4321, occupancy=2, draining=True, trunks=trunks, backup=backup
    )
    told = verify_descriptor(signed, ReflectorReference("a" * 56, KEYS.public_identity), WALL)
    assert told.addresses == (V4, V6)
    assert (told.capacity, told.occupancy, told.draining) == (4300, 2, True)
    assert told.trunks == tuple(sorted(trunks))
    assert told.backup == backup


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": []},
        {"addresses": [V4, V4]},
        {"addresses": [("0.0.0.0", 7210)]},
        {"capacity": 0},
        {"trunks": [(KEYS.public_identity, 10)]},
        {"backup": "somebody"},
    ],
)
def test_what_no_agent_would_take_is_not_signed(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"addresses": [V4], "capacity": 100}
    with pytest.raises(MisuseError, match="bad descriptor"):
        KEYS.signed_descriptor("a" * 56, wall=WALL, **(good | fields))
