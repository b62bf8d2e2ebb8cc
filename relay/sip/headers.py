"""Header fields (RFC 3261 section 7.3): an ordered multimap that knows compact forms and lists."""

from collections.abc import Iterable, Iterator

from relay.core import MisuseError, PeerError
from relay.sip.grammar import MAX_ELEMENTS, has_forbidden_control, is_token, split_outside

MAX_FIELDS = 256
"""The most header fields of one message."""
MAX_LINE = 8192
"""The longest header field, in bytes, folded lines together."""

_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

_LISTS = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "alert-info", "allow", "allow-events", "call-info",
        "contact", "content-encoding", "content-language", "error-info", "history-info", "in-reply-to",
        "p-asserted-identity", "path", "proxy-require", "reason", "record-route", "require", "route",
        "service-route", "supported", "unsupported", "via", "warning",
    }
)  # fmt: skip

_SPELLING = {
    name.lower(): name
    for name in (
        *_COMPACT.values(),
        "Accept", "Allow", "Authorization", "Authentication-Info", "Content-Disposition", "CSeq", "Date",
        "Expires", "Flow-Timer", "Max-Forwards", "MIME-Version", "Min-Expires", "Path", "Privacy",
        "Proxy-Authenticate", "Proxy-Authorization", "RAck", "Reason", "Record-Route", "Require",
        "Retry-After", "Route", "RSeq", "Server", "Timestamp", "Unsupported", "User-Agent",
        "Warning", "WWW-Authenticate",
    )
}  # fmt: skip


def canonical_name(name: str) -> str:
    """The long form of a header's name in its usual spelling; an unknown name stays as it is."""
    long_name = _COMPACT.get(name.lower(), name)
    return _SPELLING.get(long_name.lower(), long_name)


class Headers:
    """Header fields in their order.  Names compare without case and with their compact forms."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str, str]] = []
        for name, value in fields:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Append one field.  A value that could break out of its line is a bug of ours: `MisuseError`."""
        self._fields.append(_field(name, value))

    def set(self, name: str, value: str) -> None:
        """Put one field in the place of all of that name (at the end where there was none)."""
        field = _field(name, value)
        for index, (key, _, _) in enumerate(self._fields):
            if key == field[0]:
                rest = [other for other in self._fields[index + 1 :] if other[0] != key]
                self._fields[index:] = [field, *rest]
                return
        self._fields.append(field)

    def prepend(self, name: str, value: str) -> None:
        """Put one field before all others: a new top Via or Route."""
        self._fields.insert(0, _field(name, value))

    def remove(self, name: str) -> None:
        """Take out every field of that name, if there is any."""
        key = canonical_name(name).lower()
        self._fields = [field for field in self._fields if field[0] != key]

    def get(self, name: str) -> str | None:
        """The first value (of a list its first element), "" for an empty field, None for no field.

        Raises `PeerError` where a list cannot be told apart.
        """
        key = canonical_name(name).lower()
        for other, _, value in self._fields:
            if other == key:
                return split_list(value)[0] if key in _LISTS and value else value
        return None

    def all(self, name: str) -> list[str]:
        """Every value in order: lists are cut at their commas, empty fields of a list count for nothing.

        Raises `PeerError` where a list cannot be told apart or is longer than `MAX_ELEMENTS`.
        """
        key = canonical_name(name).lower()
        found: list[str] = []
        for other, _, value in self._fields:
            if other != key:
                continue
            if key not in _LISTS:
                found.append(value)
            elif value:
                found.extend(split_list(value))
                if len(found) > MAX_ELEMENTS:
                    raise PeerError("too many elements", "RFC 3261 section 7.3.1")
        return found

    def lines(self, name: str) -> list[str]:
        """Every field of that name as it stands, lists uncut."""
        key = canonical_name(name).lower()
        return [value for other, _, value in self._fields if other == key]

    def items(self) -> list[tuple[str, str]]:
        """Every field in order, lists uncut."""
        return [(name, value) for _, name, value in self._fields]

    def copy(self) -> "Headers":
        twin = Headers()
        twin._fields = list(self._fields)
        return twin

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.lines(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({len(self._fields)} fields)"

    def to_text(self) -> str:
        """All fields, each with its line end."""
        return "".join(f"{name}: {value}\r\n" for _, name, value in self._fields)


def _field(name: str, value: str) -> tuple[str, str, str]:
    value = value.strip(" \t")
    if not is_token(name):
        raise MisuseError("a header name that is not a token")
    if has_forbidden_control(value):
        raise MisuseError("a line end or control character in a header value")
    name = canonical_name(name)
    return name.lower(), name, value


def split_list(value: str) -> list[str]:
    """The elements of a header that is a comma-separated list; an empty element is refused."""
    elements = split_outside(value, ",", "7.3.1")
    if not all(elements):
        raise PeerError("malformed", "RFC 3261 section 7.3.1")
    return elements


def parse_headers(lines: list[str]) -> Headers:
    """Header lines, without their line ends, as `Headers`; folded ones are unfolded (section 7.3.1)."""
    headers = Headers()
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        parts = [line.rstrip(" \t")]
        length = len(line)
        while index < len(lines) and lines[index][:1] in (" ", "\t"):
            length += len(lines[index])
            parts.append(lines[index].strip(" \t"))
            index += 1
        if length > MAX_LINE:
            raise PeerError("header too long", "RFC 3261 section 7.3.1")
        if len(headers) >= MAX_FIELDS:
            raise PeerError("too many headers", "RFC 3261 section 7.3.1")
        name, colon, value = " ".join(parts).partition(":")
        # Only white space of ours to strip: another kind of blank would let two readers see two names.
        name = name.rstrip(" \t")
        if not colon or not is_token(name) or has_forbidden_control(value):
            raise PeerError("malformed header", "RFC 3261 section 7.3.1")
        headers.add(name, value)
    return headers
