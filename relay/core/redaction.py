"""Taking out of text whatever could tell who, where or with whom.

A last net, not a licence: callers must not put such things in a message in the first place.  In doubt it
takes out too much: a word lost from a log costs less than an address found in one.
"""

import ipaddress
import re
from collections.abc import Callable

_URI = re.compile(r"(?<![a-z])(?:sips?|bayonne|bayonne-reflector):[^\s<>\"']+", re.IGNORECASE)
_NAME = re.compile(r"(?<![a-z0-9])[a-z2-7]{56}(?:\.onion|\.bayonne\.alt)?(?![a-z0-9])", re.IGNORECASE)
_HOST = re.compile(r"(?<![a-z0-9-])[a-z0-9-]{1,63}\.(?:onion|bayonne\.alt)(?![a-z0-9])", re.IGNORECASE)
_COLONS = re.compile(
    r"\[[0-9a-f:.]{2,}(?:%[\w.-]+)?\](?::\d{1,5})?|[0-9a-f:.]{2,}(?:%[\w.-]+)?", re.IGNORECASE
)
_IPV4 = re.compile(r"(?<!\d)(?<!\d\.)(?:\d{1,3}\.){3}\d{1,3}(?!\d)(?!\.\d)(?::\d{1,5})?")
_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_WORD = re.compile(r"[A-Za-z]?[a-z]{0,19}[0-9]{0,2}")

_MAC_COLONS = 5


def _ipv4(match: re.Match[str]) -> str:
    """Nothing on a network is called 0.x.y.z, but versions are: tor 0.4.9.11."""
    return match[0] if match[0].startswith("0.") else "[address]"


def _colons(match: re.Match[str]) -> str:
    """An IPv6 or hardware address, told from a time of day (02:33:49) and from a program's `::`."""
    whole, text = match[0], match.string
    if whole.count(":") < 2:
        return whole
    in_word_before = match.start() > 0 and (
        text[match.start() - 1].isalnum() or text[match.start() - 1] == "_"
    )
    in_word_after = match.end() < len(text) and (text[match.end()].isalnum() or text[match.end()] == "_")
    core = whole.partition("]")[0].lstrip("[").partition("%")[0].rstrip(".")
    if in_word_before:
        core = core[core.index(":") :]
    if in_word_after:
        core = core[: core.rindex(":") + 1]
    if (in_word_before or in_word_after) and not core.strip(":."):
        return whole
    if not core.startswith("::"):
        core = core.removeprefix(":")
    if not core.endswith("::"):
        core = core.removesuffix(":")
    return "[address]" if "::" in core or core.count(":") >= _MAC_COLONS or _is_ipv6(core) else whole


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _long(match: re.Match[str]) -> str:
    """A key or a token, unless it is a file's path or a chain of plain words."""
    pieces = re.split(r"[/_-]", match[0])
    return match[0] if all(_WORD.fullmatch(piece) for piece in pieces) else "[secret]"


_STEPS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_URI, "[uri]"),
    (_NAME, "[name]"),
    (_HOST, "[name]"),
    (_COLONS, _colons),
    (_IPV4, _ipv4),
    (_UUID, "[secret]"),
    (_HEXADECIMAL, "[secret]"),
    (_LONG, _long),
)


def redact(text: str) -> str:
    """`text` without network addresses, onion names, SIP URIs, Bayonne addresses and key-like strings."""
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text
