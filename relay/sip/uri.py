"""SIP URIs (RFC 3261 section 19.1) and the name-addr form of From, To, Contact and Route (section 20.10)."""

import string
from dataclasses import dataclass

from relay.core import MisuseError, PeerError
from relay.sip.grammar import (
    Parameters,
    format_parameters,
    is_token,
    malformed,
    parameter,
    parse_host_port,
    parse_parameters,
    quote,
    skip_quoted,
    unquote,
    words,
)

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-_.!~*'()")
_USER = _UNRESERVED | frozenset("&=+$,;?/")
_PASSWORD = _UNRESERVED | frozenset("&=+$,")
_PARAMETER = _UNRESERVED | frozenset("[]/:&+$")
_HEADER = _UNRESERVED | frozenset("[]/?:+$")
_HEXADECIMAL = frozenset(string.hexdigits)
_SCHEME = frozenset(string.ascii_letters + string.digits + "+-.")
_ABSOLUTE = frozenset(chr(code) for code in range(0x21, 0x7F)) - frozenset('<>"\\^`{|}')

MAX_URI = 4096


def _normalise(text: str, bare: frozenset[str]) -> str:
    """`text` with each needless escape undone and the others in capitals, so that equal names are equal."""
    if "%" not in text:
        if not bare.issuperset(text):
            raise malformed("19.1.2")
        return text
    out: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        if character == "%":
            digits = text[index + 1 : index + 3]
            if len(digits) != 2 or not _HEXADECIMAL.issuperset(digits):
                raise malformed("19.1.2")
            decoded = chr(int(digits, 16))
            out.append(decoded if decoded in _UNRESERVED else f"%{digits.upper()}")
            index += 3
        elif character in bare:
            out.append(character)
            index += 1
        else:
            raise malformed("19.1.2")
    return "".join(out)


def escape(text: str) -> str:
    """`text` for use as the user of a URI."""
    return "".join(
        character if character in _UNRESERVED else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )


def _pairs(text: str, separator: str, bare: frozenset[str], limit: int = 64) -> Parameters:
    found: list[tuple[str, str | None]] = []
    parts = text.split(separator)
    if len(parts) > limit:
        raise PeerError("too many elements", "RFC 3261 section 19.1.1")
    for part in parts:
        name, equals, value = part.partition("=")
        if not name or (equals and not value and separator == ";"):
            raise malformed("19.1.1")
        found.append((_normalise(name, bare).lower(), _normalise(value, bare) if equals else None))
    names = [name for name, _ in found]
    if separator == ";" and len(set(names)) != len(names):
        raise PeerError("duplicate parameter", "RFC 3261 section 19.1.1")
    return tuple(found)


def _join(pairs: Parameters, separator: str) -> str:
    return separator.join(name if value is None else f"{name}={value}" for name, value in pairs)


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip: or sips: URI.

    `user` and `password` hold their escapes, normalised (`user_text` has them undone); `host` is lower case,
    an IPv6 address in brackets; `params` and `headers` hold what follows ";" and "?".
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    params: Parameters = ()
    password: str | None = None
    headers: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> "SipUri":
        """Raises `PeerError`; its reason is "unsupported scheme" for a URI of another kind."""
        if len(text) > MAX_URI:
            raise PeerError("uri too long", "RFC 3261 section 19.1")
        scheme, colon, rest = text.partition(":")
        scheme = scheme.lower()
        if not colon:
            raise malformed("19.1.1")
        if scheme not in ("sip", "sips"):
            raise PeerError("unsupported scheme", "RFC 3261 section 19.1")
        user_info, at, place = rest.rpartition("@")
        user = password = None
        if at:
            name, with_password, secret = user_info.partition(":")
            if not name:
                raise malformed("19.1.1")
            user = _normalise(name, _USER)
            password = _normalise(secret, _PASSWORD) if with_password else None
        before, question, header_text = place.partition("?")
        host_port, semicolon, parameter_text = before.partition(";")
        if " " in host_port or "\t" in host_port:
            raise malformed("19.1.1")
        host, port = parse_host_port(host_port, "19.1.1")
        params = _pairs(parameter_text, ";", _PARAMETER) if semicolon else ()
        headers = _pairs(header_text, "&", _HEADER) if question else ()
        return cls(scheme, user, host, port, params, password, headers)

    @property
    def user_text(self) -> str:
        """The user with its escapes undone, "" without one; `PeerError` where that is not UTF-8 text."""
        if self.user is None:
            return ""
        out = bytearray()
        index = 0
        while index < len(self.user):
            if self.user[index] == "%":
                out.append(int(self.user[index + 1 : index + 3], 16))
                index += 3
            else:
                out += self.user[index].encode()
                index += 1
        try:
            return out.decode()
        except UnicodeDecodeError:
            raise PeerError("not UTF-8", "RFC 3261 section 19.1.2") from None

    def param(self, name: str) -> str | None:
        """A parameter's value: "" where it stands without one, None where it is absent."""
        return parameter(self.params, name)

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += self.user if self.password is None else f"{self.user}:{self.password}"
            text += "@"
        text += self.host if self.port is None else f"{self.host}:{self.port}"
        if self.params:
            text += ";" + _join(self.params, ";")
        if self.headers:
            text += "?" + _join(self.headers, "&")
        return text


def check_uri(text: str) -> str:
    """`text`, which must be a SIP URI or an absolute URI of another scheme."""
    scheme, colon, rest = text.partition(":")
    if not colon or not rest or not scheme or not scheme[0].isascii() or not scheme[0].isalpha():
        raise malformed("25.1")
    if len(text) > MAX_URI or not _SCHEME.issuperset(scheme) or not _ABSOLUTE.issuperset(rest):
        raise malformed("25.1")
    if scheme.lower() in ("sip", "sips"):
        SipUri.parse(text)
    return text


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A display name, a URI of any scheme as text, and the header's own parameters."""

    display_name: str
    uri: str
    params: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> "NameAddr":
        """The whole value of From or To, or one element of Contact, Route or Record-Route."""
        section = "20.10"
        text = text.strip(" \t")
        display_name = ""
        if text.startswith('"'):
            end = skip_quoted(text, 0, section)
            display_name = unquote(text[:end], section)
            text = text[end:].lstrip(" \t")
            if not text.startswith("<"):
                raise malformed(section)
        before, angle, rest = text.partition("<")
        if not angle:
            uri, semicolon, parameters = text.partition(";")
            uri = uri.rstrip(" \t")
            # Section 20: a URI with a comma, question mark or semicolon must stand in angle brackets.
            if "," in uri or "?" in uri:
                raise malformed("20")
            return cls("", check_uri(uri), parse_parameters(semicolon + parameters, section))
        names = words(before)
        if not all(is_token(name) for name in names):
            raise malformed(section)
        uri, closed, after = rest.partition(">")
        if not closed:
            raise malformed(section)
        return cls(
            display_name or " ".join(names), check_uri(uri), parse_parameters(after.strip(" \t"), section)
        )

    @property
    def sip_uri(self) -> SipUri:
        """The URI as a `SipUri`; `PeerError` when it is of another scheme."""
        return SipUri.parse(self.uri)

    @property
    def tag(self) -> str | None:
        return parameter(self.params, "tag")

    def param(self, name: str) -> str | None:
        """A parameter's value: "" where it stands without one, None where it is absent."""
        return parameter(self.params, name)

    def with_tag(self, tag: str) -> "NameAddr":
        """The same with this tag in place of any other."""
        rest = tuple(pair for pair in self.params if pair[0] != "tag")
        return NameAddr(self.display_name, self.uri, (*rest, ("tag", tag)))

    def __str__(self) -> str:
        if not _ABSOLUTE.issuperset(self.uri):
            raise MisuseError("a URI with characters that need escaping")
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_parameters(self.params)}"
