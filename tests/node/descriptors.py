"""Signed descriptors of reflectors that do not exist."""

from relay.core import SystemEntropy
from relay.media_reflector import ReflectorKeys
from relay.media_reflector.descriptor_entry import DescriptorEntry

ONION = "r" * 56


def sign(wall: float, keys: ReflectorKeys | None = None, *, capacity: int = 100) -> bytes:
    keys = keys or ReflectorKeys.generate(SystemEntropy())
    return keys.signed_descriptor(ONION, [("192.0.2.1", 4000)], wall, capacity=capacity)


def any_descriptor(wall: float) -> DescriptorEntry:
    return DescriptorEntry.of(sign(wall))
