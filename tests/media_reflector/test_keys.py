"""The key file's content."""

from relay.core import SeededEntropy
from relay.media_reflector import ReflectorKeys
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
