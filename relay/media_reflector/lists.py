"""Signed lists of reflectors: a text that a person can read and hand on, and that its maker alone can have written.

    bayonne reflector list 1
    name: Friends of the free press
    maker: bayonne-list-maker:IDENTITY
    issued: 2027-01-15
    until: 2027-07-15
    bayonne-reflector:ONION/IDENTITY
    bayonne-reflector:ONION/IDENTITY
    signature: BASE32

The signature (Ed25519) covers every line before it in exactly this form; that a mail program broke lines with carriage
returns, indented them or put empty ones between does no harm.  A user accepts a maker, not a list.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay.core import MisuseError, PeerError
from relay.media_reflector.descriptor import CLOCK_SKEW, ReflectorReference, base32, unbase32

MAX_REFERENCES = 1000
MAX_NAME = 80
"""Characters."""
LIST_LIMIT = 160_000
"""Characters of a list at most."""
LONGEST_VALIDITY = 366
"""Days for which a list may be signed: somebody must go on standing for it."""

_DAY = 86400
_TITLE = "bayonne reflector list 1"
_CONTEXT = b"bayonne reflector list 1\0"
_MAKER = re.compile(r"bayonne-list-maker:([a-z2-7]{52})")
_SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True)
class ReflectorList:
    """What one maker stands for, from the day `issued` to the end of the day `until`, by UTC."""

    name: str
    maker: bytes
    issued: date
    until: date
    references: tuple[ReflectorReference, ...]

    def text(self) -> str:
        """The lines that are signed."""
        return "".join(
            f"{line}\n"
            for line in (
                _TITLE,
                f"name: {self.name}",
                f"maker: {format_maker(self.maker)}",
                f"issued: {self.issued.isoformat()}",
                f"until: {self.until.isoformat()}",
                *map(str, self.references),
            )
        )

    def seconds_over(self, wall: float) -> float:
        """For how long it has been out of date; negative while it is good."""
        return wall - _start(self.until) - _DAY - CLOCK_SKEW

    def begun(self, wall: float) -> bool:
        return wall >= _start(self.issued) - CLOCK_SKEW

    def fault(self) -> str:
        """What is wrong with it, in a few fixed words; empty when nothing is.  Dates are not held against a clock."""
        identities = {reference.identity for reference in self.references}
        onions = {reference.onion for reference in self.references}
        if not 1 <= len(self.references) <= MAX_REFERENCES:
            return "a list names 1 to 1000 reflectors"
        # A reflector that stood there twice would be drawn twice as often.
        if not len(identities) == len(onions) == len(self.references):
            return "a list names every reflector once"
        if (
            not 0 < len(self.name) <= MAX_NAME
            or not self.name.isprintable()
            or self.name != self.name.strip()
        ):
            return "a list's name is one line of at most 80 characters"
        if not 0 <= (self.until - self.issued).days <= LONGEST_VALIDITY:
            return "a list is good for a year at most"
        return ""


def format_maker(identity: bytes) -> str:
    """How a list's maker is named in a configuration."""
    return "bayonne-list-maker:" + base32(identity)


def parse_maker(text: str) -> bytes:
    """The identity of a maker as a configuration names it.  Raises `MisuseError`."""
    found = _MAKER.fullmatch(text.strip())
    identity = unbase32(found.group(1), 32) if found else None
    if identity is None:
        raise MisuseError("not a list maker: 'bayonne-list-maker:IDENTITY' expected")
    return identity


def day_of(wall: float) -> date:
    """The day, by UTC, of a moment of wall time."""
    return datetime.fromtimestamp(wall, UTC).date()


def sign_list(
    name: str, references: Sequence[ReflectorReference], issued: date, until: date, key: Ed25519PrivateKey
) -> str:
    """The signed text.  Raises `MisuseError` that says what no agent would take."""
    made = ReflectorList(name, key.public_key().public_bytes_raw(), issued, until, tuple(references))
    if fault := made.fault():
        raise MisuseError(fault)
    text = made.text()
    return text + f"signature: {base32(key.sign(_CONTEXT + text.encode()))}\n"


def read_list(text: str) -> ReflectorList:
    """The list in `text`, whoever made it and whatever the day: its signature is its maker's.  Raises `PeerError`."""
    if len(text) > LIST_LIMIT:
        raise PeerError("the list is too long")
    lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
    if not lines or lines[0] != _TITLE:
        raise PeerError("not a reflector list")
    if len(lines) < 7:
        raise PeerError("the list is not whole")
    try:
        found = ReflectorList(
            _field(lines[1], "name"),
            parse_maker(_field(lines[2], "maker")),
            _day(_field(lines[3], "issued")),
            _day(_field(lines[4], "until")),
            tuple(ReflectorReference.parse(line) for line in lines[5:-1]),
        )
    except MisuseError as error:
        raise PeerError(f"the list is damaged: {error}") from None
    if fault := found.fault():
        raise PeerError(fault)
    signature = unbase32(_field(lines[-1], "signature"), _SIGNATURE_SIZE)
    try:
        Ed25519PublicKey.from_public_bytes(found.maker).verify(
            signature or b"", _CONTEXT + found.text().encode()
        )
    except (InvalidSignature, ValueError):
        raise PeerError("the list is not signed by the maker it names") from None
    return found


def verify_list(text: str, makers: Collection[bytes], wall: float) -> ReflectorList:
    """As `read_list`, made by one of `makers` and good at `wall`.  Raises `PeerError`."""
    found = read_list(text)
    if found.maker not in makers:
        raise PeerError("the list is signed by a maker that was not accepted")
    if not found.begun(wall):
        raise PeerError("the list is from a later day; look at the clock")
    if found.seconds_over(wall) > 0:
        raise PeerError("the list is out of date; ask its maker for a new one")
    return found


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _field(line: str, name: str) -> str:
    found, colon, value = line.partition(":")
    if found != name or not colon:
        raise PeerError(f"the list is damaged: '{name}' expected")
    return value.strip()


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise PeerError("the list is damaged: a day expected, as in 2027-01-15") from None
    # Later than any list, and so early that a day more is still a date.
    if not 2000 <= day.year <= 9000 or day.isoformat() != text:
        raise PeerError("the list is damaged: a day expected, as in 2027-01-15")
    return day
