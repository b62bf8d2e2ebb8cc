"""Whole calls of two agents in memory: words compared once, calls that go on from there, and one that does not."""

from dataclasses import dataclass
from pathlib import Path

from relay.agent.events import Value
from relay.agent.openpgp_desk import Signatures
from relay.agent.openpgp_status import Signature
from relay.agent.voice_trust import Doubt
from tests.agent.people import Person, World, open_world
from tests.agent.scripted_call import ScriptedCall
from tests.agent.virtual_time import LoopClock, in_virtual_time


@dataclass
class Talk:
    """A call that is on, and what each side was told of its keys."""

    world: World
    dialled: ScriptedCall
    told: tuple[dict[str, Value], ...]

    async def part(self) -> None:
        await self.world.hang_up(self.world.alice, self.dialled)


async def talk(world: World) -> Talk:
    both = world.alice, world.bob
    before = [len(person.events("secured")) for person in both]
    world.bob.rung.clear()
    dialled, _ = await world.talk()
    told = [await person.wait("secured", known + 1) for person, known in zip(both, before, strict=True)]
    return Talk(world, dialled, (told[0].fields, told[1].fields))


async def compare(world: World) -> list[dict[str, str]]:
    """Both read the words, and answer."""
    shown = []
    for person, other in ((world.alice, "bob"), (world.bob, "alice")):
        desk = person.agent._verification
        words = dict(await desk.words({"name": other}, print))
        await desk.compared({"name": other, "characters": words["characters"], "same": "yes"}, print)
        shown.append(words)
    return shown


def alarms(person: Person) -> list[object]:
    return [one.fields["kind"] for one in person.events("voice-alarm")]


@in_virtual_time
async def test_words_are_compared_once_and_a_break_is_an_alarm_in_every_call(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        call = await talk(world)
        assert call.told[0]["words"] == call.told[1]["words"]
        assert [one["verified"] for one in call.told] == [False, False]
        shown = await compare(world)
        assert [one["words"] for one in shown] == [call.told[0]["words"]] * 2
        await call.part()
        for _ in range(2):
            call = await talk(world)
            assert [(one["verified"], one["continuity"]) for one in call.told] == [(True, "continued")] * 2
            await call.part()
        assert alarms(world.alice) == alarms(world.bob) == []
        # Bob has another machine: what calls went on from is not on it.
        world.bob.agent._zids.forget_contact(world.bob.contact("alice").id)
        for calls in (1, 2):
            call = await talk(world)
            assert call.told[0]["verified"] is False
            assert alarms(world.alice) == ["other_zid"] * calls
            assert len(world.alice.events("voice-alarm-open")) == calls - 1
            await call.part()
        assert [one.doubt for one in world.alice.contact("bob").trust.doubts] == [Doubt.OTHER_ZID]
        call = await talk(world)
        await compare(world)
        await call.part()
        call = await talk(world)
        assert [one["verified"] for one in call.told] == [True, True]
        assert [len(one.events("voice-verified")) for one in (world.alice, world.bob)] == [3, 3]
        assert world.alice.contact("bob").trust.alarm == ""
        await call.part()


class Signer:
    """In place of GnuPG: a signature is the name of the key and what was signed."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def sign(self, data: bytes) -> bytes:
        return self.key.encode() + data

    async def check(self, data: bytes, signature: bytes, fingerprint: str) -> Signature:
        if signature[40:] != data:
            return Signature.BAD
        return Signature.GOOD if signature[:40] == fingerprint.encode() else Signature.OTHER_KEY


@in_virtual_time
async def test_keys_of_a_call_are_signed_and_checked_beside_its_voice(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        for person, own in ((world.alice, "A"), (world.bob, "B")):
            desk = person.agent._verification
            person.book.set_openpgp(40 * own)
            desk._signatures = Signatures(
                Signer(40 * own),
                clock=LoopClock(),
                report=person.report,
                found=desk._signed,
                silent=desk._silent,
            )
        name_key(world.alice, "bob", "B")
        name_key(world.bob, "alice", "A")
        call = await talk(world)
        for person in (world.alice, world.bob):
            await person.wait("openpgp-good")
        await call.part()
        name_key(world.bob, "alice", "C")
        call = await talk(world)
        await world.bob.wait("voice-alarm")
        assert alarms(world.bob) == ["openpgp_other_key"]
        await call.part()


def name_key(person: Person, contact: str, letter: str) -> None:
    person.book.judge(person.contact(contact), lambda trust: trust.with_pgp(40 * letter))
