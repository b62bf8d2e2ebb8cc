"""Bencoding, as much of it as rtpengine's control protocol needs: byte strings, integers, lists, dictionaries."""

from typing import TypeAlias

Value: TypeAlias = "int | str | bytes | list[Value] | dict[str, Value]"


def encode(value: Value) -> bytes:
    """Dictionaries come out with their keys sorted, as the format wants them."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(encode, value)) + b"e"
        case dict():
            items = sorted((key.encode(), item) for key, item in value.items())
            return b"d" + b"".join(encode(key) + encode(item) for key, item in items) + b"e"


def decode(data: bytes) -> Value:
    """One value and nothing behind it; strings come out as bytes.  Raises `ValueError`."""
    value, end = _decode(data, 0, 0)
    if end != len(data):
        raise ValueError("something stands behind the value")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if depth > 16:
        raise ValueError("too deep")
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind == b"l":
        found: list[Value] = []
        at += 1
        while data[at : at + 1] != b"e":
            value, at = _decode(data, at, depth + 1)
            found.append(value)
        return found, at + 1
    if kind == b"d":
        entries: dict[str, Value] = {}
        at += 1
        while data[at : at + 1] != b"e":
            key, at = _decode(data, at, depth + 1)
            if not isinstance(key, bytes):
                raise ValueError("a key is a string")
            entries[key.decode()], at = _decode(data, at, depth + 1)
        return entries, at + 1
    colon = data.index(b":", at)
    size = int(data[at:colon])
    if size < 0 or colon + 1 + size > len(data):
        raise ValueError("a string is cut off")
    return data[colon + 1 : colon + 1 + size], colon + 1 + size
