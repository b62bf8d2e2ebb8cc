"""A contact point that knows every identity and no pairwise secret, and looks for whose things are.

It names owners by every key it can make from an identity and a secret it knows, by what it can open with these, and by
identities in the clear.  It ties things together by circuit, by bytes that two circuits or two records have in common
and few others have, and by numbers that two records show.
"""

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from relay.agent.flow import SIP_PORT
from relay.contact_cache import Row
from relay.core import PeerError
from relay.forward_publish import (
    LISTING_SECRET,
    REQUEST_SIZE,
    Fetch,
    Middle,
    Put,
    Request,
    StoredRecord,
    open_record,
    parse_request,
    record_key,
    token_text,
)
from relay.wire import frame
from tests.knowledge.everybody import Passed, Seen

PIECE = 8
"""Bytes in common that are no accident: two records share some by chance once in 10^13 tries."""
RARE = 12
"""What more circuits than these have in common, or half as many as there are flows, is how everybody speaks."""
KNOWN_SECRETS = (LISTING_SECRET, bytes(32), b"\xff" * 32)

_WORD = re.compile(rb"[A-Za-z0-9_+/=-]{12,}")
_TARGET = re.compile(rb"MESSAGE sip:([a-z2-7]{52})@|To: <sip:([a-z2-7]{52})@")
_REGISTERED = re.compile(rb"Contact: <sip:([a-z2-7]{52})@")
_HEAD = re.compile(rb"(?:REGISTER|MESSAGE|SIP/2\.0) [^\0]*?\r\n\r\n")

_FRAME = re.compile(
    re.escape(frame(bytes(REQUEST_SIZE))[:-REQUEST_SIZE]) + b"(.{%d})" % REQUEST_SIZE, re.DOTALL
)

Pair = tuple[int, int]


@dataclass(frozen=True)
class Named:
    """Owners found: of records by key, of tokens by text."""

    records: dict[bytes, bytes]
    tokens: dict[str, bytes]


def named(seen: Seen) -> Named:
    """Whose records and tokens are, as far as an identity leads to them."""
    made = {}
    for identity in seen.identities:
        made[identity] = (identity, LISTING_SECRET)
        for secret in (*KNOWN_SECRETS, *seen.secrets):
            made[record_key(identity, secret, seen.period)] = (identity, secret)
    records, tokens = {}, {}
    for row in seen.rows:
        for identity in seen.identities:
            if identity in row.body:
                records[row.key] = identity
        if row.key in made:
            identity, secret = made[row.key]
            records[row.key] = identity
            for token in _tokens_in(row, identity, secret):
                tokens[token] = identity
    return Named(records, tokens)


def _tokens_in(row: Row, identity: bytes, secret: bytes) -> Iterator[str]:
    """The tokens in a record that opens."""
    stored = StoredRecord.parse(row.body)
    try:
        record = open_record(stored, identity, secret, now=float(stored.period * 86400 + 43200))
    except PeerError:
        return
    for place in record.reachable_at:
        yield token_text(place.token)


def records_linked(rows: Sequence[Row]) -> set[tuple[bytes, bytes]]:
    """Pairs of records that have bytes or numbers in common which no third one has."""
    pieces: dict[bytes, set[bytes]] = defaultdict(set)
    for row in rows:
        for part in _fields(row.body):
            for piece in _pieces(part):
                pieces[piece].add(row.key)
    groups = [keys for keys in pieces.values() if len(keys) == 2]
    numbers = Counter((row.revision, row.expires) for row in rows)
    groups += [
        {row.key for row in rows if (row.revision, row.expires) == rare}
        for rare, count in numbers.items()
        if count == 2
    ]
    return {(min(keys), max(keys)) for keys in groups}


def bound_on(passed: Passed) -> set[str]:
    """The tokens bound by a circuit."""
    return {found.decode() for found in _REGISTERED.findall(passed.said)}


def targets_of(passed: Passed) -> set[str]:
    """The tokens that were sent to by a circuit, and are not bound there."""
    targets = {(one or other).decode() for one, other in _TARGET.findall(passed.said)}
    return targets - bound_on(passed)


def put_by(passed: Passed, rows: Iterable[Row]) -> set[bytes]:
    """Keys of the records that came by a circuit."""
    return {row.key for row in rows if row.key in passed.said}


def buckets_asked(passed: Passed) -> set[tuple[int, int]]:
    """Bits and prefix of the buckets that were asked for by a circuit, without those in which others of them lie."""
    asked = {(one.bits, one.prefix) for one in _requests(passed) if isinstance(one, Fetch | Middle)}
    on_the_way = {(at, prefix >> bits - at) for bits, prefix in asked for at in range(bits)}
    return asked - on_the_way


def _requests(passed: Passed) -> Iterator[Request]:
    for match in _FRAME.finditer(passed.said):
        with contextlib.suppress(PeerError):
            yield parse_request(match[1])


def duties(passed: Passed, rows: Iterable[Row]) -> int:
    """How many different things a circuit did, each of which may be all that it does: bind tokens, send to one token,
    leave one record, fetch one bucket, and what shows on the way that it may be asked for."""
    done = bool(bound_on(passed)) + len(targets_of(passed)) + len(put_by(passed, rows))
    return done + len(buckets_asked(passed))


def circuits_linked(seen: Seen) -> set[Pair]:
    """Pairs of circuits that have words or bytes in common which few others have, so that one owner is behind both.

    What a message is addressed to says nothing of who sent it, and is left out.
    """
    owners: dict[bytes, set[int]] = defaultdict(set)
    flows = sum(bool(bound_on(passed)) for passed in seen.circuits)
    for number, passed in enumerate(seen.circuits):
        said = bytes(passed.said)
        for target in targets_of(passed):
            said = said.replace(target.encode(), b"-" * 3)
        for word in _WORD.findall(said):
            owners[word].add(number)
        for part in _unreadable(passed):
            for piece in _pieces(part):
                owners[piece].add(number)
    return {
        (one, other)
        for numbers in owners.values()
        if 2 <= len(numbers) <= min(RARE, flows // 2)
        for one, other in combinations(sorted(numbers), 2)
        if not _again(seen.circuits[one], seen.circuits[other])
    }


def _again(one: Passed, other: Passed) -> bool:
    """Whether the second is the first one connected anew: its tokens say so, and nothing new comes of that."""
    return bool(bound_on(one) & bound_on(other))


def _unreadable(passed: Passed) -> Iterator[bytes]:
    """What is no text in what an agent said: fields of records, sealed bodies."""
    for asked in _requests(passed):
        if isinstance(asked, Put):
            yield from _fields(asked.body)
    if passed.port == SIP_PORT:
        yield _HEAD.sub(b"", bytes(passed.said))


def _fields(body: bytes) -> tuple[bytes, ...]:
    """Of a record.  What stands between them is the same in all; beside some chance it would look like a link."""
    stored = StoredRecord.parse(body)
    return stored.key, stored.sealed, stored.signature


def _pieces(data: bytes) -> set[bytes]:
    return {data[at : at + PIECE] for at in range(len(data) - PIECE + 1)}


def tokens_linked(seen: Seen) -> set[tuple[str, str]]:
    """Pairs of tokens of different flows that the adversary says have one owner."""
    flows = {number: tokens for number, one in enumerate(seen.circuits) if (tokens := bound_on(one))}
    found = set()
    for one, other in circuits_linked(seen):
        if one in flows and other in flows:
            found |= {(min(a, b), max(a, b)) for a in flows[one] for b in flows[other]}
    of_owner = named(seen).tokens
    flow_of = {token: number for number, tokens in flows.items() for token in tokens}
    for a, b in combinations(sorted(of_owner.keys() & flow_of.keys()), 2):
        if of_owner[a] == of_owner[b] and flow_of[a] != flow_of[b]:
            found.add((a, b))
    return found
