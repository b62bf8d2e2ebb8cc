"""The desk keeps with the contact what calls tell, and does in the call what the owner says."""

from pathlib import Path

import pytest

from relay.agent.kept import NotKept, PlainFiles
from relay.agent.openpgp_status import Signature
from relay.agent.voice_security import Alarmed, End, Listener
from relay.agent.voice_trust import Doubt
from relay.agent.zid_cache import ZIDS_FILE
from relay.core import MisuseError
from relay.zrtp import AlarmKind
from tests.agent.voice_calls import AGREED, BOBS_ZID, VERIFIED, DeskBench, FakeCall, FakeCells


@pytest.fixture
def bench(tmp_path: Path) -> DeskBench:
    return DeskBench(tmp_path)


def quiet(words: str) -> None:
    """Nothing to be said in between."""


async def compare(bench: DeskBench, *, same: bool) -> dict[str, str]:
    words = await bench.desk.words({"name": "bob"}, quiet)
    said = {"name": "BOB", "characters": words["characters"], "same": "yes" if same else "no"}
    await bench.desk.compared(said, quiet)
    return dict(words)


async def test_the_owner_compares_once_and_calls_go_on_from_there(bench: DeskBench) -> None:
    listener: Listener = bench.desk
    _, call = bench.secured()
    assert bench.events() == ["compare"]
    words = await compare(bench, same=True)
    assert words == {
        "name": "bob",
        "mode": "agents",
        "end": "agent",
        "words": "aardvark adviser",
        "characters": AGREED.sas.characters,
        "compared": "",
        "alarm": "",
    }
    assert call.said == ["same"]
    assert bench.events() == ["words-same"]
    assert bench.zids.peer(bench.bob.id, End.AGENT) == BOBS_ZID
    listener.ended(call)
    _, call = bench.secured(VERIFIED)
    assert bench.events() == ["voice-verified"]
    assert (await bench.desk.words({"name": "bob"}, quiet))["compared"] == "2027-01-15"


async def test_words_that_differ_end_the_call_and_stay(bench: DeskBench) -> None:
    _, call = bench.secured()
    bench.events()
    await compare(bench, same=False)
    assert call.said == ["different"]
    assert bench.hung_up == [bench.bob.id]
    assert bench.events() == ["voice-alarm"]
    bench.desk.ended(call)
    assert [one.doubt for one in bench.bob.trust.doubts] == [Doubt.WORDS_DIFFER]
    bench.secured()
    assert bench.events() == ["voice-alarm-open", "compare"]


async def test_alarms_before_the_keys_belong_to_the_same_call(bench: DeskBench) -> None:
    _, call = bench.secured()
    await compare(bench, same=True)
    bench.desk.ended(call)
    bench.events()
    call = FakeCall()
    for _ in range(5):
        bench.alarm(call, AlarmKind.OTHER_ZID)
    bench.secured(call=call)
    assert bench.events() == ["voice-alarm", "compare"], "once, and no second name for it"
    assert [one.doubt for one in bench.bob.trust.doubts] == [Doubt.OTHER_ZID]
    bench.alarm(call, AlarmKind.GO_CLEAR)
    bench.desk.ended(call)
    bench.alarm(FakeCall(), AlarmKind.OTHER_ZID)
    assert bench.events() == ["voice-alarm", "voice-alarm-open", "voice-alarm"]


async def test_a_call_without_keys_leaves_its_alarm_and_nothing_to_compare(bench: DeskBench) -> None:
    for expected in (
        ["voice-alarm"],
        ["voice-alarm-open", "voice-alarm"],
        ["voice-alarm-open", "voice-alarm"],
    ):
        call = FakeCall()
        bench.alarm(call, AlarmKind.DOWNGRADE, ends_call=True)
        with pytest.raises(MisuseError, match="no call with bob has keys"):
            await bench.desk.words({"name": "bob"}, quiet)
        bench.desk.ended(call)
        assert bench.events() == expected
    assert [one.doubt for one in bench.bob.trust.doubts] == [Doubt.DOWNGRADE]
    assert bench.desk._live == {}


async def test_phones_have_the_words_and_the_owner_may_note_it(bench: DeskBench) -> None:
    _, call = bench.secured(None, End.PHONE, End.PHONE)
    assert bench.events() == ["compare-on-phones"]
    words = await compare(bench, same=True)
    assert (words["mode"], words["end"], words["words"], words["characters"]) == ("phones", "phone", "", "")
    assert call.said == [], "the agent is no end of it"
    (verified,) = bench.bob.trust.verified
    assert verified.mode == "phones"


async def test_what_was_shown_of_another_call_verifies_nothing(bench: DeskBench) -> None:
    bench.secured()
    with pytest.raises(MisuseError, match="another call"):
        await bench.desk.compared({"name": "bob", "characters": "yyyy", "same": "yes"}, quiet)
    with pytest.raises(MisuseError, match="another call"):
        await bench.desk.compared({"name": "bob", "same": "yes"}, quiet)
    assert bench.bob.trust.verified == ()


async def test_without_a_call_or_a_contact_it_is_said(bench: DeskBench) -> None:
    with pytest.raises(MisuseError, match="no call with bob has keys"):
        await bench.desk.words({"name": "bob"}, quiet)
    with pytest.raises(MisuseError, match="no contact of that name"):
        await bench.desk.words({}, quiet)
    _, call = bench.secured()
    bench.desk.ended(call)
    with pytest.raises(MisuseError, match="no call with bob has keys"):
        await bench.desk.compared({"name": "bob", "same": "yes"}, quiet)


def test_nothing_is_written_of_a_call_that_is_as_it_should_be(bench: DeskBench) -> None:
    bench.secured()
    before = (bench.state.read("contacts.json"), bench.state.read(ZIDS_FILE))
    for _ in range(2):
        _, call = bench.secured(VERIFIED)
        bench.desk.ended(call)
    assert (bench.state.read("contacts.json"), bench.state.read(ZIDS_FILE)) == before


def test_a_full_disk_ends_no_call_and_hides_no_alarm(
    bench: DeskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: PlainFiles, name: str, content: bytes) -> None:
        raise NotKept("no space")

    monkeypatch.setattr(PlainFiles, "write", full)
    call = FakeCall()
    bench.alarm(call, AlarmKind.CACHE_MISMATCH)
    bench.secured(call=call)
    assert bench.events() == ["voice-alarm", "compare"]


def test_a_contact_that_was_removed_in_mid_call_is_told_of_and_comes_not_back(bench: DeskBench) -> None:
    told, call = bench.secured()
    bench.book.remove("bob")
    bench.book.refresh()
    bench.desk.alarmed(
        Alarmed(told.contact_id, "bob", End.AGENT, End.AGENT, AlarmKind.TAMPERED, ends_call=True), call
    )
    assert bench.events() == ["compare", "voice-alarm"]
    assert list(bench.book) == []


class NoSigner:
    async def sign(self, data: bytes) -> bytes:
        pytest.fail("nothing is signed")

    async def check(self, data: bytes, signature: bytes, fingerprint: str) -> Signature:
        pytest.fail("nothing is checked")


@pytest.mark.parametrize("signer", [None, NoSigner()])
def test_nothing_is_signed_before_the_owner_named_a_key(tmp_path: Path, signer: NoSigner | None) -> None:
    bench = DeskBench(tmp_path, signer)
    bench.book.set_openpgp("")
    bench.book.judge(bench.bob, lambda trust: trust.with_pgp("A" * 40))
    told, call = bench.secured()
    cells = FakeCells(lambda message: pytest.fail("nothing is said"))
    bench.desk.may_sign(told, call, cells)
    cells.on_signature(b"x")
    bench.desk.ended(call)


async def test_another_kind_of_end_than_before_is_an_alarm_though_nobody_compared(bench: DeskBench) -> None:
    """Whoever announces a phone where an agent was is asked for none of what the agent retained."""
    for _ in range(2):
        _, call = bench.secured(VERIFIED)
        assert "voice-alarm" not in bench.events()
        bench.desk.ended(call)
    _, call = bench.secured(AGREED, peer=End.PHONE)
    assert "voice-alarm" in bench.events()
    assert [one.doubt for one in bench.bob.trust.doubts] == [Doubt.OTHER_ENDS]
    await bench.desk.compared({"name": "bob", "same": "yes", "characters": AGREED.sas.characters}, quiet)
    bench.desk.ended(call)
    assert not bench.bob.trust.doubts
    bench.events()
    bench.secured(VERIFIED, peer=End.PHONE)
    assert "voice-alarm" not in bench.events()


async def test_who_began_anew_in_mid_call_compares_in_the_next(bench: DeskBench) -> None:
    """Else the next call, which nothing would lead to, were a false alarm."""
    _, call = bench.secured()
    bench.zids.forget_contact(bench.bob.id)
    with pytest.raises(MisuseError, match="began anew with bob in the middle of this call"):
        await compare(bench, same=True)
    assert call.said == []
    assert bench.bob.trust.verified == ()
    await compare(bench, same=False)
    assert call.said == ["different"]
    bench.desk.ended(call)
    bench.secured()
    await compare(bench, same=True)
    assert len(bench.bob.trust.verified) == 1
