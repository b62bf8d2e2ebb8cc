"""SIP messages: one datagram in, one message out; and back (RFC 3261 sections 7, 8.2.6, 18.3 and 20)."""

from dataclasses import dataclass, field

from relay.core import MisuseError, PeerError
from relay.sip.grammar import decimal, has_forbidden_control, is_token, malformed, token, words
from relay.sip.headers import Headers, parse_headers
from relay.sip.reasons import REASONS
from relay.sip.uri import NameAddr, SipUri, check_uri
from relay.sip.via import CSeq, Via

MAX_MESSAGE = 65535
"""The most bytes of a message, start line to body."""

VERSION = "SIP/2.0"
_ONCE = ("From", "To", "Call-ID", "CSeq")
_AT_MOST_ONCE = ("Max-Forwards", "Content-Length", "Content-Type", "Expires")


class _Fields:
    """What requests and responses share: typed views of the headers that `parse_message` has checked."""

    __slots__ = ()
    headers: Headers

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return Via.parse(self._required("Via"))

    @property
    def from_(self) -> NameAddr:
        return NameAddr.parse(self._required("From"))

    @property
    def to(self) -> NameAddr:
        return NameAddr.parse(self._required("To"))

    @property
    def call_id(self) -> str:
        return self._required("Call-ID")

    @property
    def cseq(self) -> CSeq:
        return CSeq.parse(self._required("CSeq"))

    @property
    def contacts(self) -> list[NameAddr]:
        """The addresses of Contact; none for the "*" of a REGISTER that takes everything back."""
        values = self.headers.all("Contact")
        return [] if values == ["*"] else [NameAddr.parse(value) for value in values]

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters; "" without one."""
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip(" \t").lower()

    def _required(self, name: str) -> str:
        value = self.headers.get(name)
        if not value:
            raise PeerError(f"no {name}", "RFC 3261 section 8.1.1")
        return value


@dataclass(slots=True)
class Request(_Fields):
    """A request; `to_bytes` sets Content-Length by itself."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def max_forwards(self) -> int | None:
        value = self.headers.get("Max-Forwards")
        return None if value is None else decimal(value, 255, "20.22")

    def to_bytes(self) -> bytes:
        """Raises `MisuseError` on anything that could break out of its place."""
        if not is_token(self.method):
            raise MisuseError("a method that is not a token")
        if not self.uri.isprintable() or not self.uri.isascii() or " " in self.uri or not self.uri:
            raise MisuseError("a request URI with characters that need escaping")
        return _assemble(f"{self.method} {self.uri} {VERSION}", self.headers, self.body)


@dataclass(slots=True)
class Response(_Fields):
    """A response; `to_bytes` sets Content-Length by itself."""

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """Raises `MisuseError` on anything that could break out of its place."""
        if not 100 <= self.status <= 699:
            raise MisuseError("a status outside 100..699")
        if has_forbidden_control(self.reason):
            raise MisuseError("a line end or control character in a reason phrase")
        return _assemble(f"{VERSION} {self.status} {self.reason}", self.headers, self.body)


Message = Request | Response


def _assemble(start_line: str, headers: Headers, body: bytes) -> bytes:
    fields = headers.copy()
    fields.remove("Content-Length")
    fields.add("Content-Length", str(len(body)))
    data = f"{start_line}\r\n{fields.to_text()}\r\n".encode() + body
    if len(data) > MAX_MESSAGE:
        raise MisuseError("a message above 65535 bytes")
    return data


def parse_message(data: bytes, *, limit: int = MAX_MESSAGE) -> Message:
    """One datagram.

    Bytes behind the body that Content-Length announces are dropped, a shorter body is refused (section 18.3).
    Raises `PeerError`; its reason is "keep-alive" for a datagram of nothing but line ends or zeros.
    """
    if len(data) > limit:
        raise PeerError("oversized", "RFC 3261 section 18.1.1")
    if not data.strip(b"\r\n\0"):
        raise PeerError("keep-alive", "RFC 5626 section 3.5")
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        raise PeerError("truncated", "RFC 3261 section 7")
    message = parse_head(data[start:end])
    body = data[end + 4 :]
    length = content_length(message.headers)
    if length is not None:
        if length > len(body):
            raise PeerError("truncated", "RFC 3261 section 18.3")
        body = body[:length]
    message.body = body
    return message


def parse_head(head: bytes) -> Message:
    """Start line and headers, without the empty line, as a checked message without its body."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        raise PeerError("not UTF-8", "RFC 3261 section 7") from None
    lines = text.split("\r\n")
    message = _parse_start_line(lines[0])
    message.headers = parse_headers(lines[1:])
    _check(message)
    return message


def content_length(headers: Headers) -> int | None:
    """The value of Content-Length, None without one."""
    value = headers.get("Content-Length")
    if value is None:
        return None
    length = decimal(value, 2**31 - 1, "20.14")
    if length > MAX_MESSAGE:
        # Not "oversized": whatever follows on a stream cannot be found any more.
        raise PeerError("content length too large", "RFC 3261 section 18.3")
    return length


def _parse_start_line(line: str) -> Message:
    pieces = line.split(" ", 2)
    if len(pieces) != 3 or has_forbidden_control(line):
        raise malformed("7")
    if pieces[0].isascii() and pieces[0].upper() == VERSION:
        code = pieces[1]
        if len(code) != 3 or not "100" <= code <= "699" or not code.isascii() or not code.isdigit():
            raise malformed("7.2")
        return Response(int(code), pieces[2])
    method, uri, version = pieces
    if not version.isascii() or version.upper() != VERSION:
        # One more blank than the grammar has would also land here, as part of the version.
        known = version.upper().startswith("SIP/") and " " not in version
        raise PeerError("unsupported version", "RFC 3261 section 7.1") if known else malformed("7.1")
    check_uri(uri)
    if uri[:4].lower() == "sip:" or uri[:5].lower() == "sips:":
        address = SipUri.parse(uri)
        if address.headers or address.param("method") is not None:
            # Section 19.1.1, table 1: neither may stand in a Request-URI.
            raise malformed("19.1.1")
    return Request(token(method, "7.1"), uri)


def _check(message: Message) -> None:
    """What has to be there is there, once, and can be read (section 8.1.1)."""
    headers = message.headers
    for name in _ONCE:
        found = len(headers.lines(name))
        if found != 1:
            raise PeerError(f"{name} missing" if not found else f"{name} repeated", "RFC 3261 section 8.1.1")
    for name in _AT_MOST_ONCE:
        if len(headers.lines(name)) > 1:
            raise PeerError(f"{name} repeated", "RFC 3261 section 7.3.1")
    vias = headers.all("Via")
    if not vias:
        raise PeerError("Via missing", "RFC 3261 section 8.1.1")
    for via in vias:
        Via.parse(via)
    if len(words(message.call_id)) != 1:
        raise malformed("20.8")
    for name in ("From", "To", "Contact", "Route", "Record-Route"):
        values = headers.all(name)
        for value in () if name == "Contact" and values == ["*"] else values:
            NameAddr.parse(value)
    cseq = message.cseq
    content_length(headers)
    if isinstance(message, Request):
        if cseq.method != message.method:
            raise PeerError("CSeq of another method", "RFC 3261 section 8.1.1.5")
        _ = message.max_forwards


def response_to(
    request: Request, status: int, reason: str | None = None, *, to_tag: str | None = None
) -> Response:
    """A response with what section 8.2.6.2 copies from the request; `to_tag` is added where To has none.

    A 100 carries the request's Timestamp back; other responses carry Record-Route (section 12.1.1).
    """
    headers = Headers()
    for value in request.headers.lines("Via"):
        headers.add("Via", value)
    for name in ("Record-Route",) if 100 < status < 300 else ():
        for value in request.headers.lines(name):
            headers.add(name, value)
    headers.add("From", request.headers.get("From") or "")
    to = request.headers.get("To") or ""
    if to_tag is not None and NameAddr.parse(to).tag is None:
        if not is_token(to_tag):
            raise MisuseError("a tag that is not a token")
        to = str(NameAddr.parse(to).with_tag(to_tag))
    headers.add("To", to)
    headers.add("Call-ID", request.call_id)
    headers.add("CSeq", request.headers.get("CSeq") or "")
    timestamp = request.headers.get("Timestamp")
    if status == 100 and timestamp:
        headers.add("Timestamp", timestamp)
    return Response(status, REASONS.get(status, "") if reason is None else reason, headers)
