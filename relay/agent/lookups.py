"""Looking contacts up: where to ask, how often, and what a record that was found says.

On schedule, never when somebody dials: about four times a day for each contact, well before what is known gets stale.
A lookup takes 256 KiB or more, so whoever does not publish is asked for ever more rarely.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from relay.agent.contact_file import Contact
from relay.core import Clock, Entropy, PeerError, TransportUnavailable, get_logger
from relay.forward_publish import (
    PERIOD,
    ContactRecord,
    StoredRecord,
    current_period,
    lookup_periods,
    newest_first,
    open_record,
    record_key,
)

EVERY = (4 * 3600.0, 8 * 3600.0)
"""Seconds between two lookups of a contact that was found."""
AFTER_START = 900.0
"""Seconds over which an agent that starts spreads the lookups of contacts whose whereabouts it has."""
NEW_PERIOD = (1.0 * 3600.0, 3.0 * 3600.0)
"""Seconds after the period of its whereabouts at which a contact is looked up again at the latest: its next record is
out by then (`relay.forward_publish.publication.AFTER_MIDNIGHT`), its tokens begin to go (`regrouping.LATE`)."""
FIRST_RETRY = 1.0
FIRST_RETRY_GROWS = 1.5
RETRY = 60.0
RETRY_LAST = 4 * 3600.0
MOST_POINTS = 4
"""Contact points asked in one lookup."""
LAST_RESORT = NEW_PERIOD[1]
"""Seconds after the period of its whereabouts from which a contact is also looked for where it is rung: its next record
should long have been found elsewhere, and soon no ring would reach it there."""

_log = get_logger("lookups")


class RecordSource(Protocol):
    """The record port of contact points."""

    async def fetch(self, onion: str, keys: Sequence[bytes]) -> Sequence[StoredRecord]:
        """The records under the first of `keys` that has any.  Raises `TransportUnavailable`, `PeerError`."""
        ...


class LookupTimes:
    """When one contact is looked up; moments are monotonic seconds."""

    __slots__ = ("_at", "_entropy", "_first", "_retry")

    def __init__(self, entropy: Entropy, now: float, ends_in: float | None) -> None:
        """`ends_in`: seconds until the period of the whereabouts ends; None for somebody who was never found, and is
        looked up at once, because somebody waits."""
        self._entropy = entropy
        self._first = ends_in is None
        self._retry = FIRST_RETRY if self._first else RETRY
        self._at = now if ends_in is None else now + entropy.uniform(0.0, AFTER_START)

    def wait(self, now: float) -> float:
        """Seconds until it is due; 0 where it is."""
        return max(0.0, self._at - now)

    def found(self, now: float, ends_in: float) -> None:
        """A record was found, or the one that is known is good still."""
        self._first, self._retry = False, RETRY
        usual, latest = self._entropy.uniform(*EVERY), ends_in + self._entropy.uniform(*NEW_PERIOD)
        self._at = now + max(RETRY, min(usual, latest))

    def nothing(self, now: float) -> None:
        """Nothing new was found, or nobody answered."""
        # What fails for all contacts at once must not succeed for all at once.
        self._at = now + self._entropy.uniform(0.5, 1.0) * self._retry
        grows = FIRST_RETRY_GROWS if self._first else 2.0
        self._retry = min(grows * self._retry, RETRY_LAST)


def where_to_ask(contact: Contact, own_points: Iterable[str], wall: float, entropy: Entropy) -> list[str]:
    """At which contact points to ask for a contact's record at Unix time `wall`, in order.

    A first lookup, which somebody waits for, goes to where the record was published.  Later ones go to where the
    contact is not rung, so that who sees the ring did not see the lookup: contact points share what they hold.  Where
    no such one is known they go to where it is rung in case the first place fails, and only then to that place.  From
    `LAST_RESORT` on they go to all of these in turn.
    """
    known = contact.whereabouts
    rung_at = [place.onion for place in known.places] if known is not None else []
    if not rung_at or known is None or known.revision == 0:
        return list(dict.fromkeys((*contact.home, *rung_at)))[:MOST_POINTS]
    elsewhere = [onion for onion in dict.fromkeys((*own_points, *contact.home)) if onion not in rung_at]
    groups = [entropy.draw(group) for group in (elsewhere, rung_at[1:], rung_at[:1]) if group]
    if wall < (known.period + 1) * PERIOD + LAST_RESORT:
        groups = groups[:1]
    return [onion for group in groups for onion in group][:MOST_POINTS]


class Found(NamedTuple):
    """A record, the secret it lay under, and its period."""

    record: ContactRecord
    secret: bytes
    period: int


class Lookups:
    """Finds records and opens them."""

    def __init__(self, source: RecordSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock

    async def find(
        self, identity: bytes, secrets: Sequence[bytes], points: Sequence[str], *, above: int = -1
    ) -> Found | None:
        """The record that `identity` published under one of `secrets`, from the first of `points` that has one with a
        revision higher than `above`; None where none has.

        One that has `above` itself, of the current period, ends the search: further contact points would learn that
        somebody looks and, most likely, say the same.  Raises `TransportUnavailable` where none of them answered.
        """
        answered = False
        wall = self._clock.wall()
        keys = {
            record_key(identity, secret, period): secret
            for period in lookup_periods(wall)
            for secret in secrets
        }
        for onion in points:
            try:
                found = await self._source.fetch(onion, list(keys))
            except (TransportUnavailable, PeerError) as error:
                _log.debug("a contact point is passed over", why=str(error))
                continue
            answered = True
            for stored in newest_first(found):
                secret = keys.get(stored.key)
                if secret is None or stored.revision < above:
                    continue
                if stored.revision == above:
                    if stored.period >= current_period(wall):
                        return None
                    continue
                try:
                    record = open_record(stored, identity, secret, now=wall)
                except PeerError as error:
                    _log.info("a record was dropped", why=error.reason)
                else:
                    return Found(record, secret, stored.period)
        if not answered:
            raise TransportUnavailable("no contact point answered")
        return None
