"""Two or more people as far as finding one another goes: contact points in memory, messages from hand to hand.

What an agent's reachability, introductions and correspondence do is real; what stands around them is not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

from relay.agent.calls import Calls
from relay.agent.contact_file import Contact, Introducing
from relay.agent.contacts import ContactBook
from relay.agent.correspondence import Correspondence
from relay.agent.credentials import own_identity
from relay.agent.events import Value
from relay.agent.flows import Flows
from relay.agent.invitations import AcceptIntroductions, Introductions, make_invitation
from relay.agent.prekeys import PrekeyRing
from relay.agent.publications import Published
from relay.agent.reachability import Reachability
from relay.agent.tokens_at import TokensAt
from relay.core import SystemEntropy, TransportUnavailable
from relay.forward_publish import EntryKind, StoredRecord, TokenKey
from relay.identity import Invitation, InvitationKind
from tests.agent.full_disk import FullDisk
from tests.agent.virtual_time import LoopClock

FIRST, SECOND, THIRD = "a" * 56, "b" * 56, "c" * 56
CLOCK = LoopClock()
DAY = 86400


class Shelf:
    """Contact points: what lies there, who has bound what there, and which of them are down."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int, bytes], Published] = {}
        self.puts: list[tuple[float, str, Published]] = []
        self.looks: list[tuple[float, str]] = []
        self.looked_for: list[tuple[str, Sequence[bytes]]] = []
        self.shared = False
        """Whether each contact point has at once what another one has."""
        self.down: set[str] = set()
        self.refusing = False
        self.full = False
        self.people: list[Half] = []
        self.messages: list[tuple[str, str]] = []

    async def put(self, onion: str, entry: Published) -> bool:
        await asyncio.sleep(0.2)
        if onion in self.down:
            raise TransportUnavailable("the contact point is out of reach")
        known = self.kept.get((onion, entry.kind, entry.key))
        if self.refusing or (known is not None and known.revision > entry.revision):
            return False
        if self.full and known is None:
            raise TransportUnavailable("the contact point has no room")
        self.puts.append((CLOCK.wall(), onion, entry))
        self.kept[onion, entry.kind, entry.key] = entry
        return True

    async def fetch(self, onion: str, keys: Sequence[bytes]) -> Sequence[StoredRecord]:
        await asyncio.sleep(0.2)
        self.looks.append((CLOCK.wall(), onion))
        self.looked_for.append((onion, keys))
        if onion in self.down:
            raise TransportUnavailable("the contact point is out of reach")
        held = {FIRST, SECOND, THIRD} if self.shared else {onion}
        for key in keys:
            lying = [self.kept.get((where, EntryKind.RECORD, key)) for where in held]
            found = max((one for one in lying if one is not None), key=lambda one: one.revision, default=None)
            if isinstance(found, StoredRecord) and found.expires > CLOCK.wall():
                return [found]
        return []

    async def send(self, onion: str, token: str, body: bytes) -> None:
        await asyncio.sleep(0.2)
        if onion in self.down:
            raise TransportUnavailable("the contact point did not answer; try again")
        self.messages.append((onion, token))
        for person in self.people:
            if person.bound(onion, token):
                person.correspondence.receive(onion, token, body)


class Half:
    """One person; also its agent's flows."""

    def __init__(
        self,
        directory: Path,
        name: str,
        shelf: Shelf,
        points: tuple[str, ...] = (FIRST,),
        policy: AcceptIntroductions = "ask",
    ) -> None:
        state = self.disk = FullDisk(directory / name)
        entropy = SystemEntropy()
        self.name = name
        self.shelf = shelf
        self.points = points
        self.online = True
        self.told: list[tuple[str, dict[str, Value]]] = []
        self.task: asyncio.Task[None] | None = None
        self.identity = own_identity(state, entropy)
        self.book = ContactBook(state)
        self.prekeys = PrekeyRing(state, entropy)
        self.tokens = TokensAt(self.book, points, CLOCK)
        self.introductions = Introductions(
            self.identity,
            self.book,
            self.prekeys,
            policy,
            clock=CLOCK,
            entropy=entropy,
            report=self.report,
        )
        self.correspondence = Correspondence(
            self.identity,
            self.book,
            self.prekeys,
            self.tokens,
            self.introductions,
            clock=CLOCK,
            entropy=entropy,
        )
        self.correspondence.join(cast(Flows, self), cast(Calls, _NoCalls()))
        self._followed = (-1, 0)
        self._wanted: dict[str, dict[str, TokenKey]] = {}
        self.begin_anew()
        shelf.people.append(self)

    def begin_anew(self) -> None:
        """As after a restart."""
        self.reachability = Reachability(
            self.identity,
            self.book,
            self.prekeys,
            self.shelf,
            self.correspondence,
            self.points,
            clock=CLOCK,
            entropy=SystemEntropy(),
            report=self.report,
        )

    def report(self, event: str, /, **fields: Value) -> None:
        self.told.append((event, fields))

    # -- its flows -----------------------------------------------------------------------------------------------

    def bound(self, onion: str, token: str) -> bool:
        if not self.online or onion in self.shelf.down:
            return False
        now = self.book.version, int(CLOCK.wall()) // 60
        if now != self._followed:
            self._followed, self._wanted = now, self.tokens.wanted()
        return token in self._wanted.get(onion, {})

    async def send(self, onion: str, token: str, body: bytes) -> None:
        await self.shelf.send(onion, token, body)

    async def wait_bound(self, tokens: Sequence[tuple[str, str]], timeout: float) -> None:
        raise AssertionError("nobody calls here")

    # -- what a test does ----------------------------------------------------------------------------------------

    def invite(
        self, name: str = "", kind: InvitationKind = InvitationKind.ONCE, lasts: int = 7 * DAY
    ) -> Invitation:
        made, _ = make_invitation(
            self.book,
            name,
            kind,
            self.identity.public_key,
            self.points,
            lasts,
            wall=CLOCK.wall(),
            entropy=SystemEntropy(),
        )
        return made

    def add(self, name: str, invitation: Invitation, own_name: str = "") -> Contact:
        introducing = Introducing(invitation.record_secret, invitation.expires * 3600, own_name)
        points = tuple(invitation.contact_points)
        return self.book.add(name, invitation.inviter_public_key, introducing, points, SystemEntropy())

    def knows(self, name: str) -> bool:
        found = self.book.find(name)
        return found is not None and found.callable_at(CLOCK.wall())

    def events(self, name: str) -> list[dict[str, Value]]:
        return [fields for event, fields in self.told if event == name]


class _NoCalls:
    def sealed_answer(self, contact: Contact, body: bytes) -> bool:
        return False

    def sealed_note(self, contact: Contact, note: object) -> None:
        pass

    def sealed_ring(self, contact: Contact, ring: object) -> None:
        pass


@contextlib.asynccontextmanager
async def running(*people: Half) -> AsyncIterator[None]:
    """Their agents run."""
    jobs: list[asyncio.Task[None]] = []
    for person in people:
        person.online = True
        person.task = asyncio.create_task(person.reachability.run())
        jobs += [person.task, asyncio.create_task(person.correspondence.read())]
    try:
        yield
    finally:
        for person in people:
            assert person.task is not None
            assert not person.task.done(), f"whatever happens, it goes on: {person.task.exception()!r}"
            person.online, person.task = False, None
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


def introduced(directory: Path, *points: str) -> tuple[Shelf, Half, Half]:
    """Alice has invited bob, and he has added her; nothing went over any wire yet."""
    shelf = Shelf()
    alice = Half(directory, "alice", shelf, points or (FIRST,))
    bob = Half(directory, "bob", shelf, points or (FIRST,))
    bob.add("alice", alice.invite("bob"))
    return shelf, alice, bob
