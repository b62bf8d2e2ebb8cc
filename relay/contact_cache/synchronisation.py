"""Pulling from one peer what it has and we have not: the decisions, without sockets or a store.

A pull asks for names of other points, then for each kind: digests of 4,096 parts of the set, summaries of the parts
that differ, the entries that are news.  The same questions are put to the peer and, for digests and summaries, to our
own store; this compares.  Nobody is sent anything: what a peer lacks, it pulls from us.

Entries carry their own proof, so a peer can only waste effort.  `PullBudget` says how much; how the pull went
(`PullOutcome`) makes `HostCache` ask a wasteful peer less and less.  Nothing that was superseded or has expired comes
back: the store keeps the higher revision, what is out of date is refused here, and a higher revision of a key never
expires earlier than a lower one (whoever makes entries has to see to that).
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from relay.contact_cache.asks import (
    SHORT_KEY_SIZE,
    Ask,
    AskDigests,
    AskPeers,
    AskSummary,
    AskWanted,
    in_order,
)
from relay.contact_cache.digests import CHILDREN
from relay.contact_cache.entry import Entry, Outcome, Summary, short_hash
from relay.contact_cache.host_cache import PullOutcome
from relay.contact_cache.pull_budget import Part, PullBudget, cover
from relay.core import Counters, Entropy, PeerError

MOST_DECLINED = 16_384

PULL_COUNTS = (
    "pulls good",
    "pulls idle",
    "pulls poor",
    "pulls lied",
    "pulls silent",
    "entries pulled",
    "entries forged",
    "entries not asked for",
    "entries withheld",
    "entries not as promised",
    "entries out of date",
    "entries not kept",
    "summaries malformed",
)

_SLACK = 8
"""What changes at a peer while it is pulled from looks like a few false statements."""

Version = tuple[int, bytes, int, bytes]
"""Kind, short key, revision and short hash of one version of an entry."""
Verify = Callable[[int, bytes, float], Entry]
"""The entry of a kind in a body, at a Unix time.

Raises `PeerError`; "expired" or "future-dated" where nothing else is wrong.
"""


class Declined:
    """Versions that were had and refused, so that they are not fetched from every peer in every round."""

    __slots__ = ("_versions",)

    def __init__(self) -> None:
        self._versions: dict[Version, None] = {}

    def add(self, version: Version) -> None:
        if len(self._versions) >= MOST_DECLINED:
            del self._versions[next(iter(self._versions))]
        self._versions[version] = None

    def __contains__(self, version: Version) -> bool:
        return version in self._versions


class Puller:
    """One pull from one peer.

    `next_ask` until it is None; each question's answer goes to the method of its name, after which `take_entries`
    gives what is to be stored and `settle` hears what became of it.  `now` is monotonic, `wall` Unix time.
    """

    def __init__(
        self,
        verify: Verify,
        budget: PullBudget,
        held: Mapping[int, int],
        room: Mapping[int, int],
        declined: Declined,
        counters: Counters,
        entropy: Entropy,
        now: float,
    ) -> None:
        """`held` names the kinds to pull, and how many entries of each are held; `room` how many more keys of each
        are taken.  What is held may be replaced without room."""
        self.names: Sequence[str] = ()
        """Other contact points that the peer named."""
        self.pulled = dict.fromkeys(held, 0)
        """Entries of each kind that were news and were stored."""
        self.answers = 0
        self.complete = False
        """Whether all that the peer had for us was had."""
        self._verify = verify
        self._budget = budget
        self._declined = declined
        self._counters = counters
        self._entropy = entropy
        self._until = now + budget.seconds
        self._agenda: deque[AskPeers | AskDigests | AskSummary] = deque([AskPeers()])
        self._agenda.extend(AskDigests(kind) for kind in sorted(held))
        self._wishes: deque[Summary] = deque()
        self._out: dict[bytes, Summary] = {}
        self._fresh: list[Entry] = []
        self._summaries_left = {kind: budget.summaries_for(count, room[kind]) for kind, count in held.items()}
        self._vain_left = dict.fromkeys(held, budget.vain)
        self._room = dict(room)
        self._new_keys: set[bytes] = set()
        self._renewed = 0
        self._parts: dict[tuple[int, int], Part] = {}
        self._listed = 0
        self._alike = True
        self._kind = 0
        self._examined = 0
        self._unfounded = 0
        self._wished = 0
        self._withheld = 0
        self._forged = 0
        self._cut_short = False
        self._no_room = False
        self._over = False
        self._late = False

    def next_ask(self, now: float) -> Ask | None:
        """The next question to the peer; None where the pull is over."""
        if self._over or self.answers >= self._budget.answers:
            return None
        if now >= self._until:
            self._late = True
            return None
        while self._agenda:
            ask = self._agenda[0]
            if self._wishes and (len(self._wishes) >= self._budget.wanted or not isinstance(ask, AskSummary)):
                break
            self._agenda.popleft()
            if isinstance(ask, AskSummary):
                if not self._summaries_left[ask.kind]:
                    if self._room[ask.kind] > 0:
                        self._cut_short = True
                    else:
                        self._no_room = True
                    continue
                self._summaries_left[ask.kind] -= 1
            return ask
        if self._wishes:
            return self._wish()
        self.complete = not (self._cut_short or self._no_room)
        return None

    def take_peers(self, names: Iterable[str]) -> None:
        """The answer to `AskPeers`."""
        self.answers += 1
        self.names = tuple(names)

    def take_digests(
        self, ask: AskDigests, theirs: Sequence[tuple[bytes, int]], mine: Sequence[tuple[bytes, int]]
    ) -> None:
        """The answer to `AskDigests`, and our own store's."""
        self.answers += 1
        self._kind = ask.kind
        self._renewed = 0
        self._new_keys.clear()
        self._parts.clear()
        if len(theirs) != CHILDREN:
            self._lie("summaries malformed")
            return
        pairs = enumerate(zip(theirs, mine, strict=True))
        differing = {child for child, (their, my) in pairs if their != my and their[1]}
        if not differing:
            return
        parts = cover(
            differing, [count for _, count in theirs], [count for _, count in mine], self._budget.page
        )
        # By lot, so that a pull that is cut short does not leave the same parts for the next.
        for part in self._entropy.draw(parts):
            self._parts[part.bits, part.prefix] = part
            self._agenda.appendleft(AskSummary(ask.kind, part.bits, part.prefix))

    def take_summary(self, ask: AskSummary, theirs: Sequence[Summary], mine: Sequence[Summary]) -> None:
        """A page of the answer to `AskSummary`, and all that our own store has in that prefix."""
        self.answers += 1
        if not in_order(theirs, ask.bits, ask.prefix):
            self._lie("summaries malformed")
            return
        held = {summary.key[:SHORT_KEY_SIZE]: summary for summary in mine}
        if ask.page == 0:
            self._listed, self._alike = 0, True
        self._listed += len(theirs)
        for summary in theirs:
            short = summary.key[:SHORT_KEY_SIZE]
            own = held.get(short)
            if own is not None and (own.revision, own.body_hash) == (summary.revision, summary.body_hash):
                continue
            self._alike = False
            if own is not None and own.revision > summary.revision:
                continue
            if own is None:
                if self._room[ask.kind] <= 0:
                    self._no_room = True
                    continue
                self._new_keys.add(short)
            if (ask.kind, short, summary.revision, summary.body_hash) not in self._declined:
                self._wishes.append(Summary(short, summary.revision, summary.body_hash))
        part = self._parts[ask.bits, ask.prefix]
        if len(theirs) >= self._budget.page and ask.page < -(-part.claimed // self._budget.page):
            self._agenda.appendleft(AskSummary(ask.kind, ask.bits, ask.prefix, ask.page + 1))
            return
        self._examined += part.differing
        alike = self._alike and self._listed == len(mine)
        if alike or 2 * self._listed + _SLACK < part.claimed:
            self._unfounded += part.differing

    def take_wanted(self, ask: AskWanted, bodies: Sequence[bytes], wall: float) -> None:
        """The answer to `AskWanted`; what is in it is to be taken with `take_entries` and settled."""
        self.answers += 1
        for body in bodies:
            if self._forged >= self._budget.forged:
                break
            self._weigh(ask.kind, body, wall)
        if self._forged >= self._budget.forged:
            self._over = True
        missing = len(self._out)
        self._withheld += missing
        self._counters.count("entries withheld", missing)
        self._out.clear()
        if not self._fresh:
            self._in_vain()

    def take_entries(self) -> list[Entry]:
        """What is to be stored now; `settle` has to hear of each."""
        return list(self._fresh)

    def settle(self, outcomes: Sequence[Outcome | None]) -> None:
        """What became of the entries of `take_entries`, in their order; None where there was no room."""
        news = 0
        had_room = self._room[self._kind] > 0
        for entry, outcome in zip(self._fresh, outcomes, strict=True):
            if outcome is Outcome.STORED:
                news += 1
                if entry.key[:SHORT_KEY_SIZE] in self._new_keys:
                    self._room[self._kind] -= 1
                else:
                    self._renewed += 1
            elif outcome is Outcome.OLDER:
                self._declined.add(_version(entry))
            elif outcome is None:
                self._room[self._kind] = 0
        self._counters.count("entries pulled", news)
        self._counters.count("entries not kept", len(self._fresh) - news)
        self._fresh.clear()
        if None not in outcomes and not news:
            self._in_vain()
        # What the peer brings pays for reading on: two pages of summaries for each page of entries.
        before, after = self.pulled[self._kind], self.pulled[self._kind] + news
        self.pulled[self._kind] = after
        page = self._budget.page
        self._summaries_left[self._kind] += 2 * (after // page - before // page)
        if self._room[self._kind] <= 0:
            if had_room:
                left = min(self._summaries_left[self._kind], self._budget.summaries)
                self._summaries_left[self._kind] = left
            self._wish_for_no_new_key()
        if self._renewed >= self._budget.renewed:
            self._leave_kind()

    def broke(self) -> None:
        """The peer's answer had a form that no honest peer sends."""
        self._lie("summaries malformed")

    def outcome(self, *, silent: bool = False) -> PullOutcome:
        """How it went; `silent`: the peer could not be reached or stopped answering.  Counts it: call it once."""
        if self._forged:
            found = PullOutcome.LIED
        elif silent or (self._late and not self._brought):
            found = PullOutcome.SILENT
        elif (
            2 * self._unfounded > self._examined + _SLACK
            or 4 * self._withheld > self._wished + 4 * _SLACK
            or (self._cut_short and not self._brought)
        ):
            found = PullOutcome.POOR
        else:
            found = PullOutcome.GOOD if self._brought else PullOutcome.IDLE
        self._counters.count(f"pulls {found.value}")
        return found

    @property
    def _brought(self) -> int:
        return sum(self.pulled.values())

    def _wish(self) -> AskWanted:
        room = self._room[self._kind]
        some: list[Summary] = []
        while self._wishes and len(some) < self._budget.wanted:
            if self._wishes[0].key in self._new_keys:
                if not room:
                    break
                room -= 1
            some.append(self._wishes.popleft())
        self._out = {summary.key: summary for summary in some}
        self._wished += len(some)
        return AskWanted(self._kind, tuple(self._out))

    def _weigh(self, kind: int, body: bytes, wall: float) -> None:
        """Keep one body of an answer for storing, or count why not."""
        try:
            entry = self._verify(kind, body, wall)
        except PeerError as error:
            if error.reason in ("expired", "future-dated"):
                self._out_of_date(kind, body, for_good=error.reason == "expired")
            else:
                self._forged += 1
                self._counters.count("entries forged")
            return
        promised = self._out.pop(entry.key[:SHORT_KEY_SIZE], None)
        if promised is None:
            self._forged += 1
            self._counters.count("entries not asked for")
        elif entry.revision < promised.revision:
            self._forged += 1
            self._counters.count("entries not as promised")
        else:
            self._fresh.append(entry)

    def _out_of_date(self, kind: int, body: bytes, *, for_good: bool) -> None:
        """Nobody's fault: clocks differ.  Which of the wishes it was is told by its hash."""
        self._counters.count("entries out of date")
        hashed = short_hash(body)
        for short, summary in self._out.items():
            if summary.body_hash == hashed:
                if for_good:
                    self._declined.add((kind, short, summary.revision, hashed))
                del self._out[short]
                return

    def _in_vain(self) -> None:
        self._vain_left[self._kind] -= 1
        if self._vain_left[self._kind] <= 0:
            self._leave_kind()

    def _wish_for_no_new_key(self) -> None:
        """Our room is at its end, which is nobody's fault; what replaces something is taken all the same."""
        left = [wish for wish in self._wishes if wish.key not in self._new_keys]
        self._no_room = self._no_room or len(left) < len(self._wishes)
        self._wishes = deque(left)

    def _leave_kind(self) -> None:
        """Enough of this kind; the others may be worth asking for."""
        self._cut_short = True
        self._wishes.clear()
        self._agenda = deque(ask for ask in self._agenda if not isinstance(ask, AskSummary))

    def _lie(self, reason: str) -> None:
        self._counters.count(reason)
        self._forged += 1
        self._over = True


def _version(entry: Entry) -> Version:
    return entry.kind, entry.key[:SHORT_KEY_SIZE], entry.revision, short_hash(entry.body)
