"""Session descriptions (RFC 8866) and the shape of an answer (RFC 3264).

Lines that say who somebody is (u, e, p), obsolete keys (k) and repeat times (r, z) are read and not kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from relay.core import MisuseError, PeerError
from relay.sip.grammar import is_token

MAX_DESCRIPTION = 16384
MAX_LINES = 512
MAX_MEDIA = 16

Attribute = tuple[str, str | None]
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_REVERSED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}

_SESSION_ORDER = "vosiuepcbtrzka"
_MEDIA_ORDER = "icbka"
_REPEATED = frozenset("bepra")


def _bad(section: str) -> PeerError:
    return PeerError("malformed", f"RFC 8866 section {section}")


def _number(text: str, maximum: int, section: str) -> int:
    if not text or len(text) > 10 or not text.isascii() or not text.isdigit() or int(text) > maximum:
        raise _bad(section)
    return int(text)


def _safe(text: str, *, word: bool = False) -> str:
    """`text`, checked against breaking out of its line (of its field, as `word`)."""
    if any(character in text for character in ("\r\n\0 " if word else "\r\n\0")) or (word and not text):
        raise MisuseError("a line end or blank in a session description")
    return text


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line (section 5.2)."""

    username: str
    session_id: str
    session_version: str
    address: str
    address_type: str = "IP4"
    network_type: str = "IN"

    @classmethod
    def parse(cls, value: str) -> "Origin":
        words = value.split(" ")
        if len(words) != 6 or not all(words):
            raise _bad("5.2")
        username, session_id, version, network_type, address_type, address = words
        for number in (session_id, version):
            if len(number) > 32 or not number.isascii() or not number.isdigit():
                raise _bad("5.2")
        return cls(username, session_id, version, address, address_type, network_type)

    def to_line(self) -> str:
        words = (self.username, self.session_id, self.session_version, self.network_type)
        return " ".join(_safe(word, word=True) for word in (*words, self.address_type, self.address))


@dataclass(frozen=True, slots=True)
class Connection:
    """A c= line (section 5.7); the address may be a host name, which nobody here resolves."""

    address: str
    address_type: str = "IP4"
    network_type: str = "IN"

    @classmethod
    def parse(cls, value: str) -> "Connection":
        words = value.split(" ")
        if len(words) != 3 or not all(words):
            raise _bad("5.7")
        return cls(words[2], words[1], words[0])

    def to_line(self) -> str:
        words = (self.network_type, self.address_type, self.address)
        return " ".join(_safe(word, word=True) for word in words)


@dataclass(frozen=True, slots=True)
class RtpMap:
    """An a=rtpmap value (section 6.6); `channels` is None where the map does not say."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int | None = None

    @classmethod
    def parse(cls, value: str) -> "RtpMap":
        number, blank, rest = value.partition(" ")
        pieces = rest.strip(" ").split("/")
        if not blank or len(pieces) not in (2, 3) or not is_token(pieces[0]):
            raise _bad("6.6")
        channels = _number(pieces[2], 255, "6.6") if len(pieces) == 3 else None
        return cls(_number(number, 127, "6.6"), pieces[0], _number(pieces[1], 2**31, "6.6"), channels)

    def __str__(self) -> str:
        channels = "" if self.channels is None else f"/{self.channels}"
        return f"{self.payload_type} {_safe(self.encoding, word=True)}/{self.clock_rate}{channels}"


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section (section 5.14)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()
    connection: Connection | None = None
    bandwidths: tuple[str, ...] = ()
    title: str | None = None
    port_count: int = 1

    @classmethod
    def parse(cls, value: str) -> "Media":
        words = value.split(" ")
        if len(words) < 4 or not all(words) or not is_token(words[0]):
            raise _bad("5.14")
        port, slash, count = words[1].partition("/")
        if not all(is_token(piece) for piece in words[2].split("/")):
            raise _bad("5.14")
        return cls(
            words[0],
            _number(port, 65535, "5.14"),
            words[2],
            tuple(words[3:]),
            port_count=_number(count, 65535, "5.14") if slash else 1,
        )

    def attribute(self, name: str) -> str | None:
        """The first value: "" for an attribute that is a mere flag, None where it is absent."""
        return _attribute(self.attributes, name)

    def rtpmap(self, payload_type: str) -> RtpMap | None:
        """The map of one format, None without one or with one that cannot be read."""
        for name, value in self.attributes:
            if name == "rtpmap" and value and value.partition(" ")[0] == payload_type:
                try:
                    return RtpMap.parse(value)
                except PeerError:
                    return None
        return None

    def fmtp(self, payload_type: str) -> str | None:
        for name, value in self.attributes:
            if name == "fmtp" and value:
                number, _, parameters = value.partition(" ")
                if number == payload_type:
                    return parameters.strip(" ")
        return None

    @property
    def ptime(self) -> int | None:
        """Milliseconds of sound in a packet, None where it is not said, or not as a number."""
        return self.number("ptime")

    def number(self, name: str) -> int | None:
        """An attribute's value, None where it is not there or no small number."""
        value = self.attribute(name) or ""
        return int(value) if 0 < len(value) < 5 and value.isascii() and value.isdigit() else None

    @property
    def direction(self) -> str | None:
        """This section's own direction, None where it has none."""
        return _direction(self.attributes)

    def to_lines(self) -> list[str]:
        port = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        if not self.formats or not 0 <= self.port <= 65535:
            raise MisuseError("a media section without format or with an impossible port")
        words = (self.kind, port, self.protocol, *self.formats)
        lines = ["m=" + " ".join(_safe(word, word=True) for word in words)]
        if self.title is not None:
            lines.append(f"i={_safe(self.title)}")
        if self.connection is not None:
            lines.append(f"c={self.connection.to_line()}")
        lines += [f"b={_safe(value)}" for value in self.bandwidths]
        return lines + _attribute_lines(self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A session with its media sections, in the order of their lines."""

    origin: Origin
    media: tuple[Media, ...] = ()
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    bandwidths: tuple[str, ...] = ()
    times: tuple[str, ...] = ("0 0",)

    @classmethod
    def parse(cls, data: bytes) -> "SessionDescription":
        """Raises `PeerError`.  Lines may end with CRLF or, as section 5 asks of parsers, with LF alone."""
        lines = _lines(data)
        starts = [index for index, (letter, _) in enumerate(lines) if letter == "m"]
        if len(starts) > MAX_MEDIA:
            raise PeerError("too many elements", "RFC 8866 section 5.14")
        session = _section(lines[: starts[0]] if starts else lines, _SESSION_ORDER)
        if session.get("v") != ["0"] or any(len(session.get(letter, ())) != 1 for letter in "os"):
            raise _bad("5")
        ends = [*starts[1:], len(lines)]
        media = tuple(_media(lines[start:end]) for start, end in zip(starts, ends, strict=False))
        connections = session.get("c", [])
        return cls(
            Origin.parse(session["o"][0]),
            media,
            Connection.parse(connections[0]) if connections else None,
            tuple(_parse_attribute(value) for value in session.get("a", ())),
            session["s"][0],
            tuple(session.get("b", ())),
            tuple(session.get("t", ())) or ("0 0",),
        )

    def to_bytes(self) -> bytes:
        """Raises `MisuseError` on a value that could break out of its line."""
        lines = ["v=0", f"o={self.origin.to_line()}", f"s={_safe(self.name) or '-'}"]
        if self.connection is not None:
            lines.append(f"c={self.connection.to_line()}")
        lines += [f"b={_safe(value)}" for value in self.bandwidths]
        lines += [f"t={_safe(value)}" for value in self.times]
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            lines += media.to_lines()
        return "".join(f"{line}\r\n" for line in lines).encode()

    def extended(self, attributes: Sequence[Attribute]) -> "SessionDescription":
        """With more attributes in its first media section."""
        first, *others = self.media
        return replace(self, media=(replace(first, attributes=(*first.attributes, *attributes)), *others))

    def attribute(self, name: str) -> str | None:
        """As `Media.attribute`, of the session."""
        return _attribute(self.attributes, name)

    def connection_of(self, media: Media) -> Connection | None:
        """Where a section's packets go: its own c= line, else the session's."""
        return media.connection or self.connection

    def direction_of(self, media: Media) -> str:
        """A section's direction: its own, else the session's, else sendrecv (RFC 3264 section 5.1)."""
        return media.direction or _direction(self.attributes) or "sendrecv"


def reverse_direction(direction: str) -> str:
    """The direction of an answer that takes all that was offered (RFC 3264 section 6.1)."""
    return _REVERSED[direction]


def answer_to(
    offer: SessionDescription, accepted: Mapping[int, Media], origin: Origin, connection: Connection
) -> SessionDescription:
    """An answer (RFC 3264 section 6): `accepted` by the index of the section it answers, all others refused.

    It has as many sections as the offer, in its order, each of the kind and protocol that was offered.
    """
    media = []
    for index, offered in enumerate(offer.media):
        answer = accepted.get(index)
        if answer is None:
            answer = Media(offered.kind, 0, offered.protocol, offered.formats)
        elif (answer.kind, answer.protocol) != (offered.kind, offered.protocol):
            raise MisuseError("an answer of another kind or protocol than the offer")
        media.append(replace(answer, connection=None) if answer.connection == connection else answer)
    return SessionDescription(origin, tuple(media), connection, times=offer.times)


def _lines(data: bytes) -> list[tuple[str, str]]:
    if len(data) > MAX_DESCRIPTION:
        raise PeerError("oversized", "RFC 8866 section 5")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise PeerError("not UTF-8", "RFC 8866 section 5") from None
    if "\0" in text:
        raise _bad("5")
    rows = text.split("\n")
    if rows[-1] == "":
        rows.pop()
    if len(rows) > MAX_LINES:
        raise PeerError("too many elements", "RFC 8866 section 5")
    lines = []
    for row in rows:
        row = row.removesuffix("\r")
        if len(row) < 2 or row[1] != "=" or "\r" in row:
            raise _bad("5")
        lines.append((row[0], row[2:]))
    return lines


def _section(lines: list[tuple[str, str]], order: str) -> dict[str, list[str]]:
    """Values by their letter; the letters must come in `order` (time and repeat lines in turn)."""
    found: dict[str, list[str]] = {}
    reached = 0
    for letter, value in lines:
        place = order.find(letter)
        if place < 0:
            raise _bad("5")
        if letter == "t" and order[reached] == "r":
            reached = place
        if place < reached or (letter in found and letter not in _REPEATED | {"t"}):
            raise _bad("5")
        reached = place
        found.setdefault(letter, []).append(value)
    return found


def _media(lines: list[tuple[str, str]]) -> Media:
    media = Media.parse(lines[0][1])
    # One c= line at most: several are for layered multicast (section 5.7), which no call here uses.
    values = _section(lines[1:], _MEDIA_ORDER)
    connections, titles = values.get("c", []), values.get("i", [])
    return replace(
        media,
        attributes=tuple(_parse_attribute(value) for value in values.get("a", ())),
        connection=Connection.parse(connections[0]) if connections else None,
        bandwidths=tuple(values.get("b", ())),
        title=titles[0] if titles else None,
    )


def _parse_attribute(value: str) -> Attribute:
    name, colon, rest = value.partition(":")
    if not is_token(name):
        raise _bad("5.13")
    return name, rest if colon else None


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    lines = []
    for name, value in attributes:
        if not is_token(name):
            raise MisuseError("an attribute name that is not a token")
        lines.append(f"a={name}" if value is None else f"a={name}:{_safe(value)}")
    return lines


def _attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    for key, value in attributes:
        if key == name:
            return value or ""
    return None


def _direction(attributes: tuple[Attribute, ...]) -> str | None:
    for name, value in attributes:
        if name in DIRECTIONS and value is None:
            return name
    return None
