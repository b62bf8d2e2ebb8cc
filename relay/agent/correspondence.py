"""Sealed messages, both ways: what comes down the flows is opened in its turn, what calls say is sealed and sent.

Whatever is wrong with a message is counted and dropped; who sent it, or that it came, is never logged.
"""

import asyncio
import contextlib

from relay.agent.calls import Calls
from relay.agent.contacts import Contact, ContactBook
from relay.agent.flows import Flows
from relay.agent.freshness import Freshness
from relay.agent.inbox import PAUSE, Inbox
from relay.agent.prekeys import PrekeyRing
from relay.core import BayonneError, Clock, Counters, Entropy, MisuseError, PeerError, get_logger
from relay.forward_publish import OpenedRing, Peer, ReplayCache, open_message, seal_note
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
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.counters = Counters(("received", "unknown token", "refused", "stale", "dummies sent"))
        self._identity = identity
        self._book = book
        self._prekeys = prekeys
        self._clock = clock
        self._entropy = entropy
        self._replays = ReplayCache()
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

    async def wait_bound(self, token: str, timeout: float) -> None:
        """See `relay.agent.surroundings.Messenger`."""
        await self._flows.wait_bound(token, timeout)

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
            reachable = [contact for contact in self._book if contact.whereabouts is not None]
            await asyncio.sleep(self._entropy.exponential(mean / max(1, len(reachable))))
            if not reachable:
                continue
            contact = self._entropy.choice(reachable)
            assert contact.whereabouts is not None
            with contextlib.suppress(BayonneError):
                await self.send(
                    contact.whereabouts.onion, contact.whereabouts.token, self.seal_note(contact, b"")
                )
                self.counters.count("dummies sent")

    # -- in ------------------------------------------------------------------------------------------------------

    def receive(self, token: str, body: bytes) -> None:
        """A sealed body came down a flow; it waits for its turn."""
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
        contact = self._book.by_token(token)
        if contact is None or not contact.public_key:
            self.counters.count("unknown token")
            return
        if self._calls.sealed_answer(contact, body):
            return
        now = self._clock.wall()
        peer = Peer(contact.public_key, contact.secret)
        opened = open_message(body, self._identity, peer, self._prekeys.usable(now), self._replays, now)
        late = self._freshness.note(contact.secret, opened.sent_at, now)
        if not isinstance(opened, OpenedRing):
            self._calls.sealed_note(contact, opened)
        elif late > STALE_SECONDS:
            self.counters.count("stale")
        else:
            self._calls.sealed_ring(contact, opened)
