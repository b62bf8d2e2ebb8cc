"""Two agents that sign for each other, with a signer in place of GnuPG."""

import asyncio
import errno
from dataclasses import replace
from pathlib import Path

import pytest

from relay.agent.openpgp_exchange import REPEAT_SECONDS, TIMES, write_message
from relay.agent.openpgp_status import Signature
from relay.agent.voice_security import End, Secured
from relay.agent.voice_trust import Doubt
from relay.core import RefusedByPolicy, TransportUnavailable
from tests.agent.people import open_world
from tests.agent.virtual_time import LoopClock, in_virtual_time
from tests.agent.voice_calls import AGREED, DeskBench, FakeCall, FakeCells

KEYS = {"alice": "A" * 40, "bob": "B" * 40}
MIRRORED = replace(AGREED, own_zid=AGREED.peer_zid, peer_zid=AGREED.own_zid)


class Signer:
    """Signs by naming the key before what is signed; `delay` is how long its user looks for the passphrase."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.delay = 0.0
        self.refuses = False
        self.trouble: Exception | None = None
        """What keeps GnuPG from being run at all."""
        self.checks = 0

    async def sign(self, data: bytes) -> bytes:
        await asyncio.sleep(self.delay)
        if self.trouble is not None:
            raise self.trouble
        if self.refuses:
            raise RefusedByPolicy("GnuPG did not sign")
        return self.key.encode() + data

    async def check(self, data: bytes, signature: bytes, fingerprint: str) -> Signature:
        self.checks += 1
        if self.trouble is not None:
            raise self.trouble
        if signature[40:] != data:
            return Signature.BAD
        return Signature.GOOD if signature[:40] == fingerprint.encode() else Signature.OTHER_KEY


class Side(DeskBench):
    """One agent in a call with the other."""

    def __init__(self, directory: Path, name: str) -> None:
        self.signer = Signer(KEYS[name])
        super().__init__(directory / name, self.signer)
        self.desk._signatures._clock = LoopClock()  # type: ignore[union-attr]
        other = KEYS["bob" if name == "alice" else "alice"]
        self.book.judge(self.bob, lambda trust: trust.with_pgp(other))
        self.said: list[bytes] = []
        self.lost = 0
        self.call = FakeCall()
        self.cells = FakeCells(lambda message: None)

    def begin(self, other: "Side", agreed: object = AGREED) -> None:
        told = Secured(self.bob.id, "bob", End.AGENT, End.AGENT, agreed)  # type: ignore[arg-type]
        self.desk.secured(told, self.call)
        self.events()

        def say(message: bytes) -> None:
            self.said.append(message)
            if len(self.said) > self.lost:
                asyncio.get_running_loop().call_later(0.1, lambda: other.cells.on_signature(message))

        self.cells = FakeCells(say)
        self.desk.may_sign(told, self.call, self.cells)


def pair(directory: Path) -> tuple[Side, Side]:
    return Side(directory, "alice"), Side(directory, "bob")


async def finish(*sides: Side) -> None:
    """The calls end, and leave no task behind."""
    for side in sides:
        side.desk.ended(side.call)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 2, "this one and its time limit"


@in_virtual_time
async def test_each_signs_and_each_believes_the_other(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(200.0)
    assert (alice.events(), bob.events()) == (["openpgp-good"], ["openpgp-good"])
    assert (len(alice.said), len(bob.said)) == (2, 2), "a signature and a receipt"
    await finish(alice, bob)


@in_virtual_time
async def test_lost_cells_and_a_slow_user_are_waited_for_by_nobody(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    alice.lost, bob.signer.delay = 3, 60.0
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(4 * REPEAT_SECONDS)
    assert bob.events() == ["openpgp-good"]
    assert alice.events() == []
    await asyncio.sleep(60.0)
    assert alice.events() == ["openpgp-good"]
    await finish(alice, bob)


@in_virtual_time
async def test_another_call_and_another_key_are_alarms_that_stay(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    bob.signer.key = "C" * 40
    alice.begin(bob)
    # Somebody is in the middle: what bob has is another key.
    bob.begin(alice, replace(MIRRORED, exported_key=b"m" * 32))
    await asyncio.sleep(1.0)
    assert (alice.events(), bob.events()) == (["voice-alarm"], ["voice-alarm"])
    assert [one.doubt for one in alice.bob.trust.doubts] == [Doubt.PGP_BAD]
    await finish(alice, bob)
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(1.0)
    assert alice.events() == ["voice-alarm"]
    assert [one.doubt for one in alice.bob.trust.doubts] == [Doubt.PGP_BAD, Doubt.PGP_OTHER_KEY]
    await finish(alice, bob)


@in_virtual_time
async def test_who_does_not_sign_is_told_of_once_and_asked_no_more(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    bob.book.judge(bob.bob, lambda trust: trust.with_pgp(""))
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(500.0)
    assert alice.events() == ["openpgp-silent"]
    assert bob.events() == []
    assert (len(alice.said), bob.said, bob.signer.checks) == (TIMES, [], 0)
    await finish(alice, bob)


@in_virtual_time
async def test_who_signed_before_and_stops_is_an_alarm_but_not_for_hanging_up_soon(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(1.0)
    assert alice.events() == ["openpgp-good"]
    await finish(alice, bob)
    for seconds, expected in ((60.0, []), (500.0, ["voice-alarm"])):
        bob.lost = len(bob.said) + 1000
        alice.begin(bob)
        bob.begin(alice, MIRRORED)
        await asyncio.sleep(seconds)
        assert alice.events() == expected
        await finish(alice, bob)
    assert [one.doubt for one in alice.bob.trust.doubts] == [Doubt.PGP_MISSING]


@in_virtual_time
async def test_what_the_own_gnupg_refuses_is_told_and_the_other_side_is_checked_all_the_same(
    tmp_path: Path,
) -> None:
    alice, bob = pair(tmp_path)
    alice.signer.refuses = True
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(1.0)
    assert alice.events() == ["openpgp-off", "openpgp-good"]
    await finish(alice, bob)


TROUBLES = [
    OSError(errno.EMFILE, "too many open files"),
    OSError(errno.ENOMEM, "no memory"),
    RuntimeError("can't start new thread"),
    TransportUnavailable("not there"),
]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_signature_that_came_and_could_not_be_checked_is_told_and_from_who_signed_before_an_alarm(
    tmp_path: Path, trouble: Exception
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        alice, bob = pair(tmp_path)
        alice.signer.trouble = trouble
        for known, expected in ((False, "openpgp-unchecked"), (True, "voice-alarm")):
            if known:
                alice.book.judge(alice.bob, lambda trust: trust.has_signed(KEYS["bob"]))
            alice.begin(bob)
            bob.begin(alice, MIRRORED)
            await asyncio.sleep(200.0)
            assert alice.events() == ["openpgp-off", expected], "its own is not signed, either"
            await finish(alice, bob)
        assert [one.doubt for one in alice.bob.trust.doubts] == [Doubt.PGP_MISSING]

    scenario()


@in_virtual_time
async def test_malformed_and_late_messages_are_dropped(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    alice.begin(bob)
    for data in (b"", b"\xff", write_message(b"x") + b"y"):
        alice.cells.on_signature(data)
    alice.desk.ended(alice.call)
    alice.cells.on_signature(write_message(b"x"))
    await finish(alice)
    assert alice.signer.checks == 0
    assert alice.events() == []


@in_virtual_time
async def test_nothing_is_signed_where_an_agent_is_no_end(tmp_path: Path) -> None:
    alice, _ = pair(tmp_path)
    for own, peer, agreed in ((End.AGENT, End.PHONE, AGREED), (End.PHONE, End.PHONE, None)):
        told = Secured(alice.bob.id, "bob", own, peer, agreed)
        alice.desk.secured(told, alice.call)
        alice.desk.may_sign(told, alice.call, FakeCells(lambda message: pytest.fail("nothing is said")))
    await finish(alice)
    assert alice.events().count("openpgp-off") == 2, "and that is told"


@in_virtual_time
async def test_who_signed_before_and_is_at_a_phone_now_is_another_end_and_no_missing_signature(
    tmp_path: Path,
) -> None:
    alice, bob = pair(tmp_path)
    alice.begin(bob)
    bob.begin(alice, MIRRORED)
    await asyncio.sleep(1.0)
    await finish(alice, bob)
    alice.events()
    told = Secured(alice.bob.id, "bob", End.AGENT, End.PHONE, replace(AGREED, peer_zid=b"his phone..."))
    alice.desk.secured(told, alice.call)
    alice.desk.may_sign(told, alice.call, FakeCells(lambda message: pytest.fail("nothing is said")))
    await asyncio.sleep(500.0)
    assert alice.bob.trust.signed
    assert [one.doubt for one in alice.bob.trust.doubts] == [Doubt.OTHER_ENDS]
    assert "openpgp-off" in alice.events()
    await finish(alice)


@in_virtual_time
async def test_signatures_pass_through_the_cells_of_a_real_call(tmp_path: Path) -> None:
    alice, bob = pair(tmp_path)
    async with open_world(tmp_path / "world") as world:
        dialled, _ = await world.talk()
        (ours,), (theirs,) = (person.calls._runners for person in (world.alice, world.bob))
        for side, runner, agreed in ((alice, ours, AGREED), (bob, theirs, MIRRORED)):
            told = Secured(side.bob.id, "bob", End.AGENT, End.AGENT, agreed)
            side.desk.secured(told, side.call)
            side.events()
            side.desk.may_sign(told, side.call, runner.voice)
        await asyncio.sleep(3.0)
        assert (alice.events(), bob.events()) == (["openpgp-good"], ["openpgp-good"])
        for side in (alice, bob):
            side.desk.ended(side.call)
        await world.hang_up(world.alice, dialled)
