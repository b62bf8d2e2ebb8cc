"""What a call's keys say of who is at the other end: every alarm, and what it leaves behind."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.agent.commands import Tell
from relay.agent.events import ProseReporter
from relay.agent.openpgp_status import Signature
from relay.agent.verification import CallVerification, Expect, HangUp, Outcome, kept
from relay.agent.voice_security import Agreement, Alarmed, End, Secured
from relay.agent.voice_trust import DAY, OF_ONE_CALL, SAID, Doubt, VoiceTrust
from relay.core import MisuseError
from relay.zrtp import AlarmKind, Continuity, Sas, SasType

WALL = 20_000.0 * DAY
AGREED = Agreement(
    Sas(SasType.B256, b"\x00\x01\x02\x03"),
    b"our own zid.",
    b"hers, of 12.",
    Continuity.CONTINUED,
    verified=False,
    peer_verified=False,
    signalled=True,
    authenticated=True,
    exported_key=bytes(32),
)
COMPARED = VoiceTrust().compared(End.AGENT, End.AGENT, WALL)
LASTING = [kind for kind in AlarmKind if kind not in OF_ONE_CALL]


class Calls:
    """A contact's calls one after the other, with what is kept in between."""

    def __init__(self, trust: VoiceTrust = COMPARED) -> None:
        self.trust = trust
        self.begin()

    def begin(self, own: End = End.AGENT, peer: End = End.AGENT) -> list[Outcome]:
        self.own, self.peer = own, peer
        self.judge = CallVerification("bob", own, peer, self.trust, WALL + DAY)
        return self.take(self.judge.begun())

    def take(self, outcomes: list[Outcome]) -> list[Outcome]:
        self.trust = kept(self.trust, outcomes)
        return outcomes

    def alarm(self, kind: AlarmKind, *, ends_call: bool = False) -> list[Outcome]:
        return self.take(self.judge.alarmed(Alarmed("1", "bob", self.own, self.peer, kind, ends_call)))

    def keys(self, agreement: Agreement | None = AGREED) -> list[Outcome]:
        return self.take(self.judge.found(Secured("1", "bob", self.own, self.peer, agreement)))

    @property
    def doubts(self) -> list[Doubt]:
        return [one.doubt for one in self.trust.doubts]


def told(outcomes: list[Outcome]) -> list[str]:
    return [outcome.event for outcome in outcomes if isinstance(outcome, Tell)]


def kinds(outcomes: list[Outcome]) -> list[object]:
    alarms = (one for one in outcomes if isinstance(one, Tell) and one.event == "voice-alarm")
    return [alarm.fields["kind"] for alarm in alarms]


VERIFIED = replace(AGREED, verified=True)


def test_a_stranger_is_to_be_compared_and_then_known() -> None:
    calls = Calls(VoiceTrust())
    outcomes = calls.keys(replace(AGREED, continuity=Continuity.FIRST))
    assert told(outcomes) == ["compare"]
    compare = next(outcome for outcome in outcomes if isinstance(outcome, Tell))
    assert compare.fields == {
        "contact": "bob",
        "words": "aardvark adviser",
        "characters": AGREED.sas.characters,
    }
    assert Expect(AGREED.peer_zid) in outcomes
    assert calls.trust == VoiceTrust(), "nothing is kept of a call in which nothing was said"
    assert told(calls.take(calls.judge.compared(same=True))) == ["words-same"]
    calls.begin()
    outcomes = calls.keys(VERIFIED)
    assert told(outcomes) == ["voice-verified"]
    assert calls.doubts == []


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_alarm_is_told_kept_and_told_again_in_every_call_until_the_owner_decides(
    kind: AlarmKind,
) -> None:
    calls = Calls()
    outcomes = calls.alarm(kind)
    assert kinds(outcomes) == [kind.value]
    assert calls.doubts == [Doubt(kind.value)]
    outcomes = calls.keys(VERIFIED)
    assert told(outcomes)[-1] == "compare", "in doubt words are compared, whatever the cache says"
    assert Expect(AGREED.peer_zid) not in outcomes, "the one from before is still who is expected"
    for _ in range(2):
        assert told(calls.begin()) == ["voice-alarm-open"]
        calls.keys(VERIFIED)
        assert calls.doubts == [Doubt(kind.value)]
    outcomes = calls.take(calls.judge.compared(same=True))
    assert Expect(AGREED.peer_zid) in outcomes
    assert calls.doubts == []
    assert calls.begin() == []
    assert told(calls.keys(VERIFIED)) == ["voice-verified"]


@pytest.mark.parametrize("kind", sorted(OF_ONE_CALL))
def test_an_alarm_of_one_call_is_told_and_leaves_nothing(kind: AlarmKind) -> None:
    calls = Calls()
    assert kinds(calls.alarm(kind)) == [kind.value]
    assert calls.trust == COMPARED
    assert told(calls.keys(VERIFIED)) == ["voice-verified"]


@pytest.mark.parametrize("kind", list(AlarmKind))
def test_a_thousand_false_messages_are_one_alarm(kind: AlarmKind) -> None:
    calls = Calls()
    assert len([one for _ in range(1000) for one in kinds(calls.alarm(kind))]) == 1
    calls.begin()
    assert kinds(calls.alarm(kind)) == [kind.value], "and one in the next call"


def test_an_alarm_says_whether_the_call_ends() -> None:
    for ends_call in (True, False):
        (alarm,) = [
            one for one in Calls().alarm(AlarmKind.DOWNGRADE, ends_call=ends_call) if isinstance(one, Tell)
        ]
        assert alarm.fields == {
            "contact": "bob",
            "kind": "downgrade",
            "why": SAID[Doubt.DOWNGRADE],
            "ends_call": ends_call,
        }


@pytest.mark.parametrize("continuity", [Continuity.FIRST, Continuity.CONTINUED])
def test_a_verified_contact_whom_nothing_proves_is_an_alarm(continuity: Continuity) -> None:
    calls = Calls()
    assert kinds(calls.keys(replace(AGREED, continuity=continuity))) == ["unproven"]
    assert calls.doubts == [Doubt.UNPROVEN]


@pytest.mark.parametrize("kind", [AlarmKind.CACHE_MISMATCH, AlarmKind.OTHER_ZID])
def test_a_break_has_one_name(kind: AlarmKind) -> None:
    calls = Calls()
    calls.alarm(kind)
    assert kinds(calls.keys()) == []
    assert calls.doubts == [Doubt(kind.value)]


@pytest.mark.parametrize(
    ("own", "peer"), [(End.AGENT, End.PHONE), (End.PHONE, End.AGENT), (End.PHONE, End.PHONE)]
)
def test_keys_at_other_ends_than_those_compared_are_an_alarm_until_those_are_too(own: End, peer: End) -> None:
    calls = Calls()
    calls.begin(own, peer)
    agreement = AGREED if own is End.AGENT else None
    outcomes = calls.keys(agreement)
    assert kinds(outcomes) == ["other_ends"]
    on_the_phone = "compare-on-phones" if peer is End.PHONE else "compare-phone-with-agent"
    assert told(outcomes)[-1] == ("compare" if agreement else on_the_phone)
    calls.take(calls.judge.compared(same=True))
    assert calls.doubts == []
    for ends in ((own, peer), (End.AGENT, End.AGENT)):
        calls.begin(*ends)
        assert kinds(calls.keys(VERIFIED if ends[0] is End.AGENT else None)) == []


def test_no_owner_is_told_that_nobody_listens_where_the_contact_s_agent_can() -> None:
    said: list[str] = []
    for peer in End:
        calls = Calls(VoiceTrust())
        calls.begin(End.PHONE, peer)
        (outcome,) = calls.keys(None)
        assert isinstance(outcome, Tell)
        ProseReporter(said.append)(outcome.event, **outcome.fields)
    by_end = dict(zip(End, said, strict=True))
    assert "no agent can listen" in by_end[End.PHONE]
    assert "bob's agent, which can listen" in by_end[End.AGENT]
    assert "no agent" not in by_end[End.AGENT]


def test_phones_have_words_of_their_own_and_the_agent_has_none() -> None:
    calls = Calls(VoiceTrust())
    calls.begin(End.PHONE, End.PHONE)
    assert told(calls.keys(None)) == ["compare-on-phones"]
    assert calls.judge.sas is None
    calls.take(calls.judge.compared(same=True))
    calls.begin(End.PHONE, End.PHONE)
    (outcome,) = calls.keys(None)
    assert isinstance(outcome, Tell)
    assert outcome.fields == {"contact": "bob", "compared": "2024-10-05"}


def test_words_that_differ_end_the_call_and_the_contact_is_verified_no_more() -> None:
    calls = Calls()
    calls.keys(VERIFIED)
    outcomes = calls.take(calls.judge.compared(same=False))
    assert kinds(outcomes) == ["words_differ"]
    assert outcomes[-1] == HangUp()
    assert calls.trust.verified == ()
    assert calls.doubts == [Doubt.WORDS_DIFFER]
    assert told(calls.begin()) == ["voice-alarm-open"]


def test_there_is_nothing_to_compare_before_there_are_keys() -> None:
    calls = Calls()
    with pytest.raises(MisuseError, match="no words in this call yet"):
        calls.judge.compared(same=True)


def test_signatures_are_told_and_false_ones_kept() -> None:
    expected = {
        Signature.GOOD: (["openpgp-good"], []),
        Signature.UNCHECKED: (["openpgp-unchecked"], []),
        Signature.BAD: (["voice-alarm"], [Doubt.PGP_BAD]),
        Signature.OTHER_KEY: (["voice-alarm"], [Doubt.PGP_OTHER_KEY]),
    }
    for signature in Signature:
        calls = Calls()
        calls.keys(VERIFIED)
        outcomes = calls.take(calls.judge.signed(signature))
        assert (told(outcomes), calls.doubts) == expected[signature]


def test_a_signature_that_used_to_come_is_missed() -> None:
    """Whoever is in the middle can take it away, or spoil it so that nobody can check it."""
    ways: tuple[Callable[[CallVerification], list[Outcome]], ...] = (
        CallVerification.silent,
        lambda judge: judge.signed(Signature.UNCHECKED),
    )
    for unsigned in ways:
        calls = Calls(VoiceTrust().with_pgp("A" * 40))
        calls.keys()
        assert "voice-alarm" not in told(calls.take(unsigned(calls.judge)))
        assert calls.doubts == []
        calls.begin()
        assert told(calls.take(calls.judge.signed(Signature.GOOD))) == ["openpgp-good"]
        assert calls.trust.signed
        calls.begin()
        assert kinds(calls.take(unsigned(calls.judge))) == [Doubt.PGP_MISSING]
        assert calls.take(unsigned(calls.judge)) == [], "once in a call"
        assert calls.doubts == [Doubt.PGP_MISSING]
        assert not calls.trust.with_pgp("B" * 40).signed, "another key begins anew"
        assert not calls.trust.with_pgp("B" * 40).doubts
        assert not calls.trust.begun_anew().signed
        assert calls.trust.compared(End.AGENT, End.AGENT, WALL).signed


def test_another_key_that_is_named_in_mid_call_begins_anew() -> None:
    """What the call finds is of the key that was named when it began."""
    found = {
        Signature.GOOD: VoiceTrust(pgp="B" * 40),
        Signature.BAD: VoiceTrust(pgp="B" * 40),
        Signature.UNCHECKED: VoiceTrust(pgp="B" * 40),
    }
    for signature, expected in found.items():
        calls = Calls(VoiceTrust(pgp="A" * 40, signed=signature is not Signature.GOOD))
        calls.keys()
        calls.trust = calls.trust.with_pgp("B" * 40)
        calls.take(calls.judge.signed(signature))
        assert calls.trust == expected
