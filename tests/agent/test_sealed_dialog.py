"""The sealed dialog: what one side writes, the other reads; what does not belong to it is refused."""

import re

import pytest

from relay.agent.meeting import Meeting
from relay.agent.sealed_dialog import SealedDialog
from relay.agent.sealed_voice import SealedVoice
from relay.agent.voice_security import End
from relay.core import PeerError, SeededEntropy
from relay.forward_publish import MOST_SIP
from relay.sip import Request
from relay.sip.line_voice import NEUTRAL

ALICE = f"sip:{'a' * 56}.bayonne.alt"
BOB = f"sip:{'b' * 56}.bayonne.alt"
CODE = bytes(range(16))
VOICE = SealedVoice(End.AGENT, NEUTRAL, (f"1.10 {1:064x}",))
PLACES = tuple(letter * 32 for letter in "cde")


def pair() -> tuple[SealedDialog, SealedDialog]:
    return SealedDialog(ALICE, BOB, SeededEntropy("alice")), SealedDialog(BOB, ALICE, SeededEntropy("bob"))


def rung() -> tuple[SealedDialog, SealedDialog, bytes]:
    alice, bob = pair()
    ring = alice.invite(VOICE, PLACES, CODE, 30.0)
    return alice, bob, ring


def test_a_ring_carries_offer_places_code_and_time_and_fits_a_sealed_body() -> None:
    _, bob, ring = rung()
    assert len(ring) <= MOST_SIP
    invitation = bob.read_invite(ring)
    assert invitation.reflectors == PLACES
    assert invitation.join_code == CODE
    assert invitation.expires == 30
    assert invitation.voice == VOICE


def test_an_answer_names_the_chosen_reflector() -> None:
    alice, bob, ring = rung()
    bob.read_invite(ring)
    sip = bob.answer(200, VOICE, Meeting(PLACES[1]))
    assert len(sip) <= MOST_SIP
    answer = alice.read_answer(sip)
    assert (answer.status, answer.voice, answer.meeting) == (200, VOICE, Meeting(PLACES[1]))


def test_an_answer_over_a_trunk_names_both_ends_of_it() -> None:
    alice, bob, ring = rung()
    bob.read_invite(ring)
    meeting = Meeting("f" * 32, via=PLACES[1])
    sip = bob.answer(200, VOICE, meeting)
    assert len(sip) <= MOST_SIP
    assert alice.read_answer(sip).meeting == meeting


@pytest.mark.parametrize(
    "damage",
    [
        lambda sip: sip.replace(b"x-bayonne-reflector", b"x-bayonne-elsewherer"),
        lambda sip: sip.replace(b"x-bayonne-trunk", b"x-bayonne-reflector"),
        lambda sip: sip.replace(b"x-bayonne-reflector", b"x-bayonne-trunk"),
    ],
)
def test_an_answer_that_names_no_place_or_several_is_the_peers_fault(damage) -> None:  # type: ignore[no-untyped-def]
    alice, bob, ring = rung()
    bob.read_invite(ring)
    meeting = Meeting("f" * 32, via=PLACES[1])
    sip = bob.answer(200, VOICE, meeting)
    length = re.search(rb"Content-Length: (\d+)", sip)
    damaged = damage(sip)
    if length is not None:
        grown = int(length.group(1)) + len(damaged) - len(sip)
        damaged = damaged.replace(length.group(0), b"Content-Length: %d" % grown)
    with pytest.raises(PeerError):
        alice.read_answer(damaged)


def test_a_refusal_needs_no_session() -> None:
    alice, bob, ring = rung()
    bob.read_invite(ring)
    assert alice.read_answer(bob.answer(486)).status == 486


def talking() -> tuple[SealedDialog, SealedDialog]:
    alice, bob, ring = rung()
    bob.read_invite(ring)
    alice.read_answer(bob.answer(200, VOICE, Meeting(PLACES[0])))
    return alice, bob


@pytest.mark.parametrize("from_caller", [True, False])
def test_bye_and_its_answer_travel_both_ways(from_caller: bool) -> None:
    alice, bob = talking()
    leaver, stayer = (alice, bob) if from_caller else (bob, alice)
    bye = leaver.request("BYE")
    assert leaver.request("BYE") == bye, "a repeated BYE is the same request"
    what, message = stayer.read_request(bye)
    assert what == "BYE"
    assert isinstance(message, Request)
    assert leaver.read_request(stayer.confirm(message))[0] == "200"


def test_ack_and_cancel_are_read() -> None:
    alice, bob = talking()
    assert bob.read_request(alice.request("ACK"))[0] == "ACK"
    alice, bob, ring = rung()
    bob.read_invite(ring)
    assert bob.read_request(alice.request("CANCEL"))[0] == "CANCEL"


def test_a_bye_of_another_call_is_refused() -> None:
    _, bob = talking()
    stranger = SealedDialog(ALICE, BOB, SeededEntropy("another call"))
    with pytest.raises(PeerError):
        bob.read_request(stranger.request("BYE"))


def test_a_message_of_ours_sent_back_to_us_is_refused() -> None:
    alice, _ = talking()
    with pytest.raises(PeerError):
        alice.read_request(alice.request("BYE"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda ring: ring.replace(b"INVITE sip", b"MESSAGE sip"),
        lambda ring: ring.replace(b"a=x-bayonne-join:" + CODE.hex().encode(), b"a=x-bayonne-join:zz"),
        lambda ring: ring.replace(b"x-bayonne-join", b"x-bayonne-none"),
        lambda ring: ring.replace(b"x-bayonne-reflector", b"x-bayonne-elsewhere"),
        lambda ring: ring.replace(b"m=audio", b"m="),
        lambda ring: ring.replace(b"Call-ID: ", b"Call-ID: \r\nX: "),
        lambda ring: ring[: len(ring) // 2],
        lambda ring: b"",
        lambda ring: b"\x00" * 500,
    ],
)
def test_a_damaged_ring_is_the_peers_fault(damage) -> None:  # type: ignore[no-untyped-def]
    _, bob, ring = rung()
    with pytest.raises(PeerError):
        bob.read_invite(damage(ring))
