"""Sealed messages, both ways: what comes down the flows is opened in its turn, what calls say is sealed and sent.

Whatever is wrong with a message is counted and dropped; who sent it, or that it came, is never logged.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from relay.agent.calls import Calls
from relay.agent.contact_file import Contact
from relay.agent.contacts import ContactBook
from relay.agent.flows import Flows
from relay.agent.freshness import Freshness
from relay.agent.inbox import PAUSE, Inbox
from relay.agent.invitations import Introductions
from relay.agent.prekeys import PrekeyRing
from relay.agent.tokens_at import TokensAt
from relay.core import BayonneError, Clock, Counters, Entropy, MisuseError, PeerError, get_logger
from relay.forward_publish import (
    OpenedNote,
    OpenedRing,
    Peer,
    ReplayCache,
    open_message,
    proposed_secret,
    seal_note,
)
from relay.identity import Identity

STALE_SECONDS = 90.0
"""A ring that took so much longer than the promptest message of its contact was held back: it rings for nobody."""

_log = get_logger("messages")


class Correspondence:
    """The agent's `relay.agent.surroundings.Messenger`, and the reader of what contacts send."""

    def __init__(
        self,
        identity: Identity,
        book: ContactBook,
        prekeys: PrekeyRing,
        tokens: TokensAt,
        introductions: Introductions,
        *,
        clock: Clock,
        entropy: Entropy,
        replays: ReplayCache | None = None,
    ) -> None:
        """`replays` is what came before, as the last run of the agent remembers it."""
        self.counters = Counters(("received", "unknown token", "refused", "stale", "dummies sent"))
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._tokens = tokens
        self._introductions = introductions
        self._clock = clock
        self._entropy = entropy
        self._replays = ReplayCache() if replays is None else replays
        self._freshness = Freshness()
        self._inbox = Inbox()
        self._arrived = asyncio.Event()

    def join(self, flows: Flows, calls: Calls) -> None:
        """Say where messages go out, and who takes what came in."""
        self._flows = flows
        self._calls = calls

    # -- out -----------------------------------------------------------------------------------------------------

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """See `relay.agent.surroundings.Messenger`."""
        await self._flows.send(onion, token, body)

    def bound(self, onion: str, token: str) -> bool:
        """See `relay.agent.surroundings.Messenger`."""
        return self._flows.bound(onion, token)

    async def wait_bound(self, tokens: Sequence[tuple[str, str]], timeout: float) -> None:
        """See `relay.agent.surroundings.Messenger`."""
        await self._flows.wait_bound(tokens, timeout)

    def seal_note(self, contact: Contact, sip: bytes) -> bytes:
        """See `relay.agent.surroundings.Messenger`."""
        if contact.whereabouts is None:
            raise MisuseError("a note needs whereabouts")
        peer = Peer(contact.public_key, contact.secret)
        return seal_note(self._identity, peer, contact.whereabouts.prekey, sip, self._clock, self._entropy)

    async def send_dummies(self, mean: float) -> None:
        """Messages that say nothing, at random moments (Poisson, `mean` seconds for each contact), until cancelled:
        a ring is then only one more of them."""
        while True:
            wall = self._clock.wall()
            reachable = [contact for contact in self._book if contact.callable_at(wall)]
            await asyncio.sleep(self._entropy.exponential(mean / max(1, len(reachable))))
            if not reachable:
                continue
            contact = self._entropy.choice(reachable)
            assert contact.whereabouts is not None
            # As a ring does: where it goes first is where it goes nearly always.
            place = contact.whereabouts.places[0]
            with contextlib.suppress(BayonneError):
                await self.send(place.onion, place.token, self.seal_note(contact, b""))
                self.counters.count("dummies sent")

    # -- in ------------------------------------------------------------------------------------------------------

    def receive(self, onion: str, token: str, body: bytes) -> None:
        """A sealed body came down a flow; it waits for its turn.  Where it came from says no more than its token."""
        self.counters.count("received")
        self._inbox.put(token, body)
        self._arrived.set()

    async def read(self) -> None:
        """Open what came, one message at a time with a pause after each, until cancelled."""
        while True:
            waiting = self._inbox.take()
            if waiting is None:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            try:
                self._open(*waiting)
            except PeerError as error:
                self.counters.count("refused")
                _log.info("a message was dropped", why=error.reason)
            except (
                Exception
            ) as error:  # a fault of ours must neither end the agent nor show what was received
                self.counters.count("refused")
                _log.error("a message could not be handled", kind=type(error).__name__)
            await asyncio.sleep(PAUSE)

    def _open(self, token: str, body: bytes) -> None:
        owner = self._tokens.owner(token)
        if owner is None:
            self.counters.count("unknown token")
            return
        if not isinstance(owner, Contact):
            self._introductions.receive(owner, body)
            return
        if self._calls.sealed_answer(owner, body):
            return
        now = self._clock.wall()
        contact, opened = self._open_from(owner, body, now)
        late = self._freshness.note(contact.id.encode(), opened.sent_at, now)
        if not isinstance(opened, OpenedRing):
            self._calls.sealed_note(contact, opened)
        elif late > STALE_SECONDS:
            self.counters.count("stale")
        else:
            self._calls.sealed_ring(contact, opened)

    def _open_from(
        self, contact: Contact, body: bytes, now: float
    ) -> tuple[Contact, OpenedRing | OpenedNote]:
        """Open what a contact sent.  While we introduce ourselves it may be the first to show that we were taken.
        Raises `PeerError`."""
        state, secret = contact.introducing, contact.secret
        if state is not None:
            if not state.random:
                raise PeerError("not authentic")
            secret = proposed_secret(self._identity, contact.public_key, state.secret, state.random)
        usable = self._prekeys.usable(now)
        peer = Peer(contact.public_key, secret)
        opened = open_message(body, self._identity, peer, usable, self._replays, now)
        if state is not None:
            contact = self._book.confirmed(contact, secret, now) or contact
        return contact, opened
