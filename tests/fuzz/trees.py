"""Changing an input as the tree that it is: what sits inside lengths and brackets survives no change of a byte."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from tests.fuzz.codec import Shape

Mutate = Callable[[bytes, int], bytes]
"""The fuzzer's own: (input, bytes at most) to another one."""

_NUMBERS = (0, 1, -1, 2, 4, 63, 64, 127, 128, 255, 256, 600, 2**16, 2**31, 2**32, 2**53, 2**63 - 1, 2**64 - 1)
_SIZES = (0, 1, 2, 15, 16, 17, 31, 32, 33, 35, 52, 56, 64, 65, 255, 256, 1216)
_FLOATS = (0.0, -0.0, 0.5, -1.0, 1e300, float("inf"), float("-inf"), float("nan"))
_SPECIAL = ("", "\u0130", "\u212a", "\u202e", "é", "é", "a.b", "x" * 300, "%41", "-")


def changed(data: bytes, size: int, seed: int, shape: Shape, mutate: Mutate) -> bytes:
    """Another input of at most `size` bytes; every third time, and where the input is no tree, by its bytes."""
    chance = random.Random(seed)
    if shape is Shape.BYTES or not chance.randrange(3):
        return mutate(data, size)
    try:
        tree = msgspec.msgpack.decode(data) if shape is Shape.PACKED else msgspec.json.decode(data)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            tree = _change(tree, chance, mutate)
        again = msgspec.msgpack.encode(tree) if shape is Shape.PACKED else msgspec.json.encode(tree)
    except (ValueError, RecursionError, OverflowError, TypeError, UnicodeError):
        return mutate(data, size)
    return again if len(again) <= size else mutate(data, size)


def _change(tree: Any, chance: random.Random, mutate: Mutate) -> Any:
    """The same tree with something changed in one place."""
    match tree:
        case list() if tree and chance.randrange(6):
            place = chance.randrange(len(tree))
            return [*tree[:place], _change(tree[place], chance, mutate), *tree[place + 1 :]]
        case list():
            return _change_length(tree, chance)
        case dict() if tree and chance.randrange(6):
            key = chance.choice(list(tree))
            return {**tree, key: _change(tree[key], chance, mutate)}
        case dict():
            return {key: value for key, value in tree.items() if chance.randrange(4)}
        case _ if not chance.randrange(8):
            return chance.choice((None, True, 0, "", b"", [], {}, 1.5, [[]]))
        case _:
            return _change_leaf(tree, chance, mutate)


def _change_length(found: list[Any], chance: random.Random) -> list[Any]:
    if not found or not chance.randrange(4):
        return [*found, chance.choice((0, "", b"", []))]
    place = chance.randrange(len(found))
    match chance.randrange(3):
        case 0:
            return found[:place] + found[place + 1 :]
        case 1:
            return found[:place] + [found[place]] * chance.choice((2, 3, 5, 70)) + found[place + 1 :]
        case _:
            return [*found[place:], *found[:place]]


def _change_leaf(leaf: Any, chance: random.Random, mutate: Mutate) -> Any:
    match leaf:
        case bool():
            return not leaf
        case int():
            return chance.choice((*_NUMBERS, leaf + 1, leaf - 1, leaf ^ 1 << chance.randrange(53), -leaf))
        case float():
            return chance.choice((*_FLOATS, leaf + 1, -leaf, leaf * 2))
        case bytes():
            return _resized(leaf, chance) if chance.randrange(2) else mutate(leaf, len(leaf) + 8)
        case str() if not chance.randrange(4):
            place = chance.randrange(len(leaf) + 1)
            return leaf[:place] + chance.choice(_SPECIAL) + leaf[place:]
        case str():
            return mutate(leaf.encode(), len(leaf.encode()) + 8).decode("utf-8", "ignore")
        case _:
            return chance.choice(_NUMBERS)


def _resized(leaf: bytes, chance: random.Random) -> bytes:
    size = chance.choice((*_SIZES, max(0, len(leaf) - 1), len(leaf) + 1))
    return leaf[:size].ljust(size, chance.choice((b"\0", b"\xff", b"\x01")))
