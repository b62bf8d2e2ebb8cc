"""What contact points remember and say of one another, and the words that strangers' listings are found by."""

import unicodedata

from relay.contact_cache import words
from relay.contact_cache.asks import Ask, AskDigests, AskPeers, AskSummary, AskWanted
from relay.contact_cache.digests import CHILDREN
from relay.contact_cache.entry import Outcome, Summary, short_hash
from relay.contact_cache.host_cache import ROUND, HostCache, PullOutcome
from relay.contact_cache.pull_budget import PullBudget
from relay.contact_cache.synchronisation import PULL_COUNTS, Declined, Puller
from relay.core import Counters, SeededEntropy
from tests.contact_cache.points import KIND, make_entry, verify
from tests.forward_publish import shelves
from tests.fuzz.codec import Codec, Shape, of_text, same

NOW = shelves.NOW
_SEED, _LEARNED = "a" * 56, "b" * 56
_BUDGET = PullBudget(answers=40, page=16, wanted=4)
_EXPIRES = int(NOW) + 86400


def _hosts(data: bytes) -> None:
    """Whatever the file says, the cache goes on with it, plans within the round, and can be written again."""
    cache = HostCache.from_bytes(data, [_SEED])
    entropy = SeededEntropy("fuzz")
    for pull in cache.draw_round(NOW, entropy):
        if not NOW <= pull.at <= NOW + ROUND:
            raise AssertionError("a pull outside its round")
    cache.known(entropy, NOW)
    cache.learn(["c" * 56, "no name"], _SEED, NOW)
    for number, outcome in enumerate(PullOutcome):
        cache.note((_SEED, _LEARNED)[number % 2], outcome, NOW + number, entropy)
    written = cache.to_bytes()
    same(HostCache.from_bytes(written, [_SEED]).to_bytes(), written)


def _host_file() -> bytes:
    cache, entropy = HostCache([_SEED]), SeededEntropy("fuzz")
    cache.learn([_LEARNED], _SEED, NOW)
    cache.note(_LEARNED, PullOutcome.GOOD, NOW, entropy)
    cache.note(_SEED, PullOutcome.SILENT, NOW, entropy)
    return cache.to_bytes()


class _Peer:
    """Answers a pull with what the input says, genuine entries among it; silent when the input is at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at].ljust(size, b"\0")

    def digests(self) -> list[tuple[bytes, int]]:
        children = [(bytes(16), 0)] * (CHILDREN - (self.byte() == 1))
        for _ in range(self.byte() % 8):
            children[int.from_bytes(self.take(2)) % len(children)] = self.take(1) * 16, self.byte() << 2
        return children

    def summaries(self, ask: AskSummary) -> list[Summary]:
        found = []
        for _ in range(self.byte() % (_BUDGET.page + 2)):
            start = (ask.prefix << 16 >> ask.bits).to_bytes(3)[-2:] if self.byte() & 1 else self.take(2)
            entry = make_entry(start + self.take(1) + bytes(29), self.byte() & 7, _EXPIRES)
            hashed = short_hash(entry.body) if self.byte() & 1 else self.take(8)
            found.append(Summary(entry.key[:16], entry.revision, hashed))
        return sorted(found) if self.byte() & 1 else found

    def bodies(self, ask: AskWanted) -> list[bytes]:
        found = []
        for _ in range(self.byte() % 6):
            kind, revision = self.byte() & 3, self.byte() & 7
            key = ask.keys[self.byte() % len(ask.keys)] + bytes(16)
            expires = 0 if kind == 1 else _EXPIRES
            found.append(self.take(96) if kind == 0 else make_entry(key, revision, expires).body)
        return found


def _pull(data: bytes) -> None:
    """However a peer answers, a pull ends, costs what its budget says, and stores what verifies."""
    peer = _Peer(data)
    puller = Puller(
        verify, _BUDGET, {KIND: 3}, {KIND: 20}, Declined(), Counters(PULL_COUNTS), SeededEntropy("fuzz"), NOW
    )
    asked = 0
    while peer.left and (ask := puller.next_ask(NOW)) is not None:
        asked += 1
        _answer(puller, ask, peer)
        if asked > _BUDGET.answers:
            raise AssertionError("more questions than a pull may ask")
    if puller.pulled[KIND] > 20:
        raise AssertionError("more entries than there is room for")
    puller.outcome(silent=not peer.left)


def _answer(puller: Puller, ask: Ask, peer: _Peer) -> None:
    match ask:
        case AskPeers():
            puller.take_peers([peer.take(4).decode("latin-1") for _ in range(peer.byte() % 4)])
        case AskDigests():
            puller.take_digests(ask, peer.digests(), [(bytes(16), 0)] * CHILDREN)
        case AskSummary():
            puller.take_summary(ask, peer.summaries(ask), [])
        case AskWanted():
            puller.take_wanted(ask, peer.bodies(ask), NOW)
            for entry in puller.take_entries():
                verify(KIND, entry.body, NOW)
            outcomes = [(Outcome.STORED, Outcome.OLDER, None)[peer.byte() % 3] for _ in puller.take_entries()]
            puller.settle(outcomes)


def _words(text: str) -> None:
    """What search hands to a database is letters, digits and marks, in any language, and folds to itself."""
    found = words.words_of(text)
    if not all(c.isalnum() or unicodedata.category(c).startswith("M") for word in found for c in word):
        raise AssertionError("a word that is none")
    if any(len(word) > words.MOST_WORD for word in found):
        raise AssertionError("a word without end")
    if len(words.searched_words(text)) > words.MOST_WORDS:
        raise AssertionError("a search without end")


_PULL = (
    bytes((0, 0, 1, 0, 5, 1, 2)) + bytes((2, 1, 0, 1, 1, 1, 0, 1, 2, 1)) + bytes((2, 2, 1, 0, 2, 1, 1, 0, 0))
)

CODECS = (
    Codec("host-file", _hosts, lambda: [_host_file()], shape=Shape.PACKED),
    Codec("pull", _pull, lambda: [_PULL], longest=600),
    Codec(
        "search-words",
        of_text(_words),
        lambda: ["Ægir Straße 東京 नमस्ते".encode(), b"radio-waves OR NEAR(1 2)"],
        longest=400,
    ),
)
