"""Two people who compare words once: real exchanges, caches on disk, desks, and what each is told in every call."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.agent.voice_security import Agreement, Alarmed, End, Secured
from relay.agent.voice_trust import Doubt, VoiceTrust
from relay.agent.zid_cache import ZIDS_FILE
from relay.zrtp import Alarm, Exchange, Expectation, MemoryZidCache, Offer, Settings
from relay.zrtp import Secured as Keys
from relay.zrtp.settings import EVERYTHING
from tests.agent.voice_calls import DeskBench
from tests.zrtp.pair import Pair, Party, World


@dataclass
class Comparison:
    """A call's `Comparing`."""

    exchange: Exchange

    def verify_sas(self) -> None:
        self.exchange.verify_sas()

    def reject_sas(self) -> None:
        self.exchange.reject_sas()

    def __hash__(self) -> int:
        return id(self)


class Agent(DeskBench):
    """One person's, whose only contact is called bob whoever that is."""

    def restart(self) -> None:
        self.__init__(self.state.path)  # type: ignore[misc]

    def tell(self, party: Party) -> Comparison:
        """What a call does with an exchange's effects."""
        call, ends = Comparison(party.exchange), (End.AGENT, End.AGENT)
        failed = party.failed is not None
        for effect in party.effects:
            if isinstance(effect, Alarm):
                self.desk.alarmed(Alarmed(self.bob.id, "bob", *ends, effect.kind, ends_call=failed), call)
            elif isinstance(effect, Keys):
                assert effect.sas is not None
                agreed = Agreement(
                    effect.sas,
                    effect.session.own_zid,
                    effect.peer_zid,
                    effect.continuity,
                    effect.verified,
                    effect.peer_verified,
                    effect.signalled,
                    effect.authenticated,
                    effect.exported_key,
                )
                self.desk.secured(Secured(self.bob.id, "bob", *ends, agreed), call)
        return call


@dataclass
class People:
    """Two agents; `call` has them talk, and says what each of them was told."""

    directory: Path
    world: World = field(default_factory=lambda: World("verification"))

    def __post_init__(self) -> None:
        self.alice, self.bob = Agent(self.directory / "alice"), Agent(self.directory / "bob")

    def call(self, settings: Settings | None = None) -> tuple[list[str], list[str]]:
        pair = self.exchange(settings)
        self.calls = self.alice.tell(pair.alice), self.bob.tell(pair.bob)
        return self.alice.events(), self.bob.events()

    def exchange(self, bobs: Settings | None = None) -> Pair:
        world = self.world.with_settings(Settings(), bobs or Settings())
        world.caches = (self.alice.zids, self.bob.zids)
        sides = self.alice, self.bob
        zids = tuple(side.zids.own(side.bob.id) for side in sides)
        plain = world.exchanges(zids=(zids[0], zids[1]))
        hashes = [exchange.hello_hash for exchange in plain]
        for side, exchange, other in zip(sides, plain, reversed(hashes), strict=True):
            peer = side.zids.peer(side.bob.id, End.AGENT)
            exchange.expect(Expectation((other,), protected=True, zid=peer))
        return Pair(*plain).run()

    async def compare(self) -> None:
        """Each reads the words to the other, and each answers."""
        words = [await side.desk.words({"name": "bob"}, print) for side in (self.alice, self.bob)]
        for side, shown in zip((self.alice, self.bob), words, strict=True):
            same = "yes" if words[0]["words"] == words[1]["words"] else "no"
            said = {"name": "bob", "characters": shown["characters"], "same": same}
            await side.desk.compared(said, print)
            side.events()
        self.hang_up()

    def hang_up(self) -> None:
        for side, call in zip((self.alice, self.bob), self.calls, strict=True):
            side.desk.ended(call)


@pytest.fixture
async def people(tmp_path: Path) -> People:
    """Two who have compared."""
    found = People(tmp_path)
    assert found.call() == (["compare"], ["compare"])
    await found.compare()
    return found


KNOWN = (["voice-verified"], ["voice-verified"])


async def test_once_is_enough(people: People) -> None:
    for _ in range(3):
        assert people.call() == KNOWN
        people.hang_up()


@pytest.mark.parametrize("killed", ["alice", "bob"])
async def test_an_agent_killed_between_the_two_updates_is_no_alarm(people: People, killed: str) -> None:
    side: Agent = getattr(people, killed)
    for _ in range(3):
        before = side.state.read(ZIDS_FILE) or b""
        people.call()
        people.hang_up()
        side.state.write(ZIDS_FILE, before)
        assert people.call() == KNOWN
        people.hang_up()


async def test_a_peer_that_lost_what_it_kept_is_an_alarm_in_every_call_until_words_are_compared(
    people: People,
) -> None:
    """What a stolen identity on another machine looks like, too."""
    people.bob.state.remove(ZIDS_FILE)
    people.bob.restart()
    for expected in (["voice-alarm", "compare"], ["voice-alarm-open", "voice-alarm", "compare"]):
        heard, _ = people.call()
        assert heard == expected
        people.hang_up()
    assert [one.doubt for one in people.alice.bob.trust.doubts] == [Doubt.OTHER_ZID]
    people.call()
    await people.compare()
    assert people.call() == KNOWN


async def test_a_peer_with_an_old_copy_is_an_alarm_at_both_ends(people: People) -> None:
    old = people.bob.state.read(ZIDS_FILE) or b""
    for _ in range(2):
        people.call()
        people.hang_up()
    people.bob.state.write(ZIDS_FILE, old)
    assert people.call() == (["voice-alarm", "compare"], ["voice-alarm", "compare"])
    people.hang_up()
    # The new secret was taken, because the announced hash was authentic; the alarm stays all the same.
    assert people.call() == (["voice-alarm-open", "voice-alarm", "compare"],) * 2
    assert [one.doubt for one in people.bob.bob.trust.doubts] == [Doubt.CACHE_MISMATCH, Doubt.UNPROVEN]


async def test_what_the_owner_knows_of_begins_anew_without_an_alarm(people: People) -> None:
    for side in (people.alice, people.bob):
        side.zids.forget_contact(side.bob.id)
        side.book.judge(side.bob, VoiceTrust.begun_anew)
    assert people.call() == (["compare"], ["compare"])
    await people.compare()
    assert people.call() == KNOWN


async def test_a_peer_that_does_less_than_before_is_an_alarm_and_no_call(people: People) -> None:
    every = EVERYTHING
    less = Settings(
        offer=Offer(
            every.hashes[:1], every.ciphers[:1], every.auth_tags, every.key_agreements[:1], every.sas_types
        )
    )
    heard, _ = people.call(less)
    assert heard == ["voice-alarm"]
    assert [one.doubt for one in people.alice.bob.trust.doubts] == [Doubt.DOWNGRADE]


async def test_whoever_is_in_the_middle_with_all_announcements_in_hand_has_other_words(
    tmp_path: Path,
) -> None:
    """First calls, and the one in the middle holds both identities: nothing but the words tells."""
    people = People(tmp_path)
    left, right = (MemoryZidCache(people.world.clock) for _ in range(2))
    with_alice, with_bob = (
        _with_stranger(people, side, cache) for side, cache in ((people.alice, left), (people.bob, right))
    )
    people.calls = people.alice.tell(with_alice.alice), people.bob.tell(with_bob.alice)
    assert (people.alice.events(), people.bob.events()) == (["compare"], ["compare"]), (
        "no alarm, and no wonder"
    )
    await people.compare()
    for side in (people.alice, people.bob):
        assert side.hung_up == [side.bob.id]
        assert [one.doubt for one in side.bob.trust.doubts] == [Doubt.WORDS_DIFFER]
        assert side.bob.trust.verified == ()


async def test_whoever_comes_into_the_middle_later_is_an_alarm_at_both_ends(people: People) -> None:
    cache = MemoryZidCache(people.world.clock)
    for side in (people.alice, people.bob):
        side.tell(_with_stranger(people, side, cache).alice)
        assert side.events() == ["voice-alarm", "compare"]


def _with_stranger(people: People, side: Agent, cache: MemoryZidCache) -> Pair:
    world = people.world
    world.caches = (side.zids, cache)
    own, mine = world.exchanges(zids=(side.zids.own(side.bob.id), b"mallory's id"))
    own.expect(Expectation((mine.hello_hash,), protected=True, zid=side.zids.peer(side.bob.id, End.AGENT)))
    return Pair(own, mine).run()
