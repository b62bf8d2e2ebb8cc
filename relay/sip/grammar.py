"""The small pieces of RFC 3261 section 25.1 that every header is made of, as hand-written scanners.

Each scanner goes over its text once, so that no input costs more than its length.
"""

import string

from relay.core import MisuseError, PeerError

Parameters = tuple[tuple[str, str | None], ...]
"""Parameters in their order: names in lower case, values without quotes; None where there is no value."""

TOKEN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-.!%*_+`'~")
_HOST_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-.")
_VALUE_CHARACTERS = TOKEN_CHARACTERS | frozenset("[]:")
_IPV6_CHARACTERS = frozenset(string.hexdigits + ":.")
_DIGITS = frozenset(string.digits)

MAX_ELEMENTS = 256
"""The most elements of one list, and the most parameters of one header."""


def malformed(section: str) -> PeerError:
    """The error of everything that breaks the grammar; never holds the text that broke it."""
    return PeerError("malformed", f"RFC 3261 section {section}")


def is_token(text: str) -> bool:
    return bool(text) and TOKEN_CHARACTERS.issuperset(text)


def token(text: str, section: str = "25.1") -> str:
    """`text`, which must be a token."""
    if not is_token(text):
        raise malformed(section)
    return text


def words(text: str) -> list[str]:
    """`text` cut at its blanks and tabs; no other character is white space here, unlike `str.split`."""
    return [word for word in text.replace("\t", " ").split(" ") if word]


def decimal(text: str, maximum: int, section: str) -> int:
    """A number of ASCII digits in 0..`maximum`; leading zeros are allowed up to 16 digits in all."""
    if not text or len(text) > 16 or not _DIGITS.issuperset(text):
        raise malformed(section)
    value = int(text)
    if value > maximum:
        raise malformed(section)
    return value


def has_forbidden_control(text: str) -> bool:
    """Whether a control character other than a tab stands in `text` without the backslash of a quoted-pair.

    CR, LF and characters that are not Unicode text are forbidden with or without one.
    """
    if text.isprintable():
        return False
    escaped = False
    for character in text:
        code = ord(character)
        if character in "\r\n" or 0xD800 <= code <= 0xDFFF:
            return True
        if (code < 0x20 and character != "\t") or code == 0x7F:
            if not escaped:
                return True
            escaped = False
        else:
            escaped = character == "\\" and not escaped
    return False


def skip_quoted(text: str, start: int, section: str = "25.1") -> int:
    """The index just behind the quoted-string that opens at `start`."""
    index = start + 1
    while index < len(text):
        character = text[index]
        if character == '"':
            return index + 1
        index += 2 if character == "\\" else 1
    raise malformed(section)


def split_outside(text: str, separator: str, section: str = "25.1") -> list[str]:
    """`text` cut at each `separator` that is outside quotes and angle brackets; the parts are stripped."""
    parts: list[str] = []
    start = index = 0
    angle = False
    while index < len(text):
        character = text[index]
        if character == '"' and not angle:
            index = skip_quoted(text, index, section)
            continue
        if character == "<":
            angle = True
        elif character == ">":
            angle = False
        elif character == separator and not angle:
            parts.append(text[start:index].strip(" \t"))
            start = index + 1
            if len(parts) >= MAX_ELEMENTS:
                raise PeerError("too many elements", f"RFC 3261 section {section}")
        index += 1
    if angle:
        raise malformed(section)
    parts.append(text[start:].strip(" \t"))
    return parts


def quote(text: str) -> str:
    """`text` as a quoted-string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if has_forbidden_control(escaped):
        raise MisuseError("a control character in a quoted string")
    return f'"{escaped}"'


def unquote(text: str, section: str = "25.1") -> str:
    """The content of a quoted-string that fills `text` exactly.

    Quoted control characters are left out: nothing that is shown or compared needs them, and they must not be
    able to come out again in another place.
    """
    if len(text) < 2 or text[0] != '"' or skip_quoted(text, 0, section) != len(text):
        raise malformed(section)
    out: list[str] = []
    index, end = 1, len(text) - 1
    while index < end:
        if text[index] == "\\":
            index += 1
        if ord(text[index]) >= 0x20 and text[index] != "\x7f":
            out.append(text[index])
        index += 1
    return "".join(out)


def parse_parameters(text: str, section: str) -> Parameters:
    """Parameters from `text`, which is empty or starts with the semicolon of the first one."""
    if not text:
        return ()
    parts = split_outside(text, ";", section)
    if parts[0]:
        raise malformed(section)
    found: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for part in parts[1:]:
        name, equals, value = part.partition("=")
        name = token(name.rstrip(" \t"), section).lower()
        if name in seen:
            raise PeerError("duplicate parameter", f"RFC 3261 section {section}")
        seen.add(name)
        found.append((name, _parameter_value(value.lstrip(" \t"), section) if equals else None))
    return tuple(found)


def _parameter_value(text: str, section: str) -> str:
    if text.startswith('"'):
        return unquote(text, section)
    if not text or not _VALUE_CHARACTERS.issuperset(text):
        raise malformed(section)
    return text


def format_parameters(parameters: Parameters) -> str:
    """Parameters with their semicolons; values that are not tokens are quoted."""
    parts: list[str] = []
    for name, value in parameters:
        if not is_token(name):
            raise MisuseError("a parameter name that is not a token")
        if value is None:
            parts.append(f";{name}")
        elif value and _VALUE_CHARACTERS.issuperset(value):
            parts.append(f";{name}={value}")
        else:
            parts.append(f";{name}={quote(value)}")
    return "".join(parts)


def parameter(parameters: Parameters, name: str) -> str | None:
    """The value of one parameter: "" where it stands without a value, None where it is absent."""
    for key, value in parameters:
        if key == name:
            return value or ""
    return None


def parse_host_port(text: str, section: str) -> tuple[str, int | None]:
    """`host [":" port]`; the host in lower case, an IPv6 address with its brackets."""
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in inside or len(inside) > 45 or not _IPV6_CHARACTERS.issuperset(inside):
            raise malformed(section)
        host = f"[{inside.lower()}]"
        rest = rest.strip(" \t")
    else:
        name, colon, port = text.partition(":")
        host = name.rstrip(" \t").lower()
        rest = colon + port
        if not is_host_name(host):
            raise malformed(section)
    if not rest:
        return host, None
    if rest[0] != ":":
        raise malformed(section)
    number = decimal(rest[1:].strip(" \t"), 65535, section)
    if number == 0:
        raise malformed(section)
    return host, number


def is_host_name(host: str) -> bool:
    """A host name or an IPv4 address: labels of letters, digits and hyphens, 255 characters at most."""
    if not host or len(host) > 255 or not _HOST_CHARACTERS.issuperset(host):
        return False
    labels = host.removesuffix(".").split(".")
    return all(label and label[0] != "-" and label[-1] != "-" for label in labels)
