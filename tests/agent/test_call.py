"""Decisions of one call, in virtual time: inputs in, commands out."""

from collections.abc import Callable

import pytest

from relay.agent.call import (
    BYE_SECONDS,
    FAREWELL_SECONDS,
    MEET_SECONDS,
    NOWHERE_TO_MEET,
    PEER_SILENCE_SECONDS,
    SETTLE_SECONDS,
    UNHEARD_SECONDS,
    Call,
    Phase,
    Side,
)
from relay.agent.commands import (
    AnswerPhone,
    HangUpPhone,
    OpenLine,
    Output,
    Play,
    ProgressPhone,
    RefusePhone,
    ReleaseLine,
    SendAnswer,
    SendInCells,
    SendNote,
    Tell,
    Tone,
    Unkey,
)
from relay.agent.meeting import NOTHING_IN_COMMON


def make(side: Side, now: float = 100.0) -> Call:
    call = Call(side, "bob", start_delay=2.0, stagger=9.0, longest_delay=5.0, ring_seconds=30.0, now=now)
    call.outputs()
    return call


def drain(call: Call) -> list[Output]:
    """The commands without the events for the owner."""
    return [output for output in call.outputs() if not isinstance(output, Tell)]


def talking(side: Side) -> Call:
    call = make(side)
    if side is Side.CALLER:
        call.ring_sent()
        call.answered_by_peer(200, 101.0)
    else:
        call.answered_by_phone(101.0)
    call.line_open()
    call.crossed(104.0)
    call.outputs()
    assert call.phase is Phase.TALKING
    return call


def run_until(call: Call, now: float, limit: float) -> tuple[float, list[Output]]:
    """Tick at every deadline until the call ended."""
    outputs: list[Output] = []
    while not call.ended:
        deadline = call.deadline()
        assert deadline is not None, "a call that waits for nothing never ends"
        now = max(now, deadline)
        assert now <= limit
        call.tick(now)
        outputs += drain(call)
    return now, outputs


def test_caller_hears_ringing_then_meets_then_talks() -> None:
    call = make(Side.CALLER)
    call.ring_sent()
    assert drain(call) == [ProgressPhone(180, "Ring sent")]
    call.answered_by_peer(200, 110.0)
    assert drain(call) == [AnswerPhone(), Play(Tone.WAITING, 112.0), OpenLine(112.0)]
    call.line_open()
    call.crossed(113.0)
    assert drain(call) == [Play(Tone.NONE, 113.0), SendInCells("ACK")]


def test_callee_opens_its_line_only_after_a_human_answered() -> None:
    call = make(Side.CALLEE)
    assert drain(call) == []
    call.answered_by_phone(105.0)
    assert drain(call) == [SendAnswer(200), Play(Tone.WAITING, 107.0), OpenLine(107.0)]


def test_no_answer_is_480_within_the_ring_time() -> None:
    call = make(Side.CALLER)
    call.ring_sent()
    call.outputs()
    assert call.deadline() == 130.0
    call.tick(130.0)
    assert drain(call) == [SendNote("CANCEL"), RefusePhone(480, "No answer")]
    assert call.ended


@pytest.mark.parametrize(("status", "reason"), [(486, "Busy"), (603, "Declined"), (480, "Not taken")])
def test_a_refusal_reaches_the_phone(status: int, reason: str) -> None:
    call = make(Side.CALLER)
    call.answered_by_peer(status, 101.0)
    assert drain(call) == [RefusePhone(status, reason)]
    assert call.ended


def test_a_line_that_is_not_crossed_ends_the_call_and_lingers() -> None:
    call = make(Side.CALLER)
    call.not_crossed("too early to matter", 100.5)
    call.answered_by_peer(200, 101.0)
    call.line_open()
    call.outputs()
    call.not_crossed("the trunk is taken", 104.0)
    assert drain(call) == [
        SendNote("BYE"),
        Play(Tone.FAREWELL, 104.0 + FAREWELL_SECONDS),
        ReleaseLine(113.0),
    ]
    assert call.reason == "the trunk is taken"
    assert call.phase is Phase.PARTING
    call.not_crossed("too late to matter", 105.0)
    assert call.reason == "the trunk is taken"


def test_a_trunk_that_breaks_ends_the_call_with_a_tone_and_the_reason() -> None:
    call = talking(Side.CALLEE)
    call.not_crossed("the trunk broke", 105.0)
    assert Play(Tone.FAREWELL, 105.0 + FAREWELL_SECONDS) in drain(call)
    assert call.phase is Phase.PARTING
    assert call.reason == "the trunk broke"


def test_nowhere_to_meet_is_explained_to_the_owner_and_short_for_the_phone() -> None:
    call = make(Side.CALLER)
    call.answered_by_peer(NOWHERE_TO_MEET, 101.0)
    refused, failed, _ = call.outputs()
    assert refused == RefusePhone(480, "No reflector in common")
    assert isinstance(failed, Tell)
    assert failed.fields["reason"] == NOTHING_IN_COMMON.format(contact="bob")
    assert call.ended


@pytest.mark.parametrize(
    ("said", "sealed"), [(486, 486), (600, 486), (603, 603), (480, 480), (408, 480), (500, 603)]
)
def test_what_the_phone_says_becomes_the_sealed_answer(said: int, sealed: int) -> None:
    call = make(Side.CALLEE)
    call.refused_by_phone(said)
    assert drain(call) == [SendAnswer(sealed)]
    assert call.ended


def test_tor_lost_while_ringing_is_503_and_opens_nothing() -> None:
    call = make(Side.CALLER)
    call.ring_sent()
    call.outputs()
    call.transport_lost("Tor was lost", 101.0)
    assert drain(call) == [RefusePhone(503, "Tor was lost")]
    assert call.ended


def test_tor_lost_before_the_line_is_open_releases_it() -> None:
    call = make(Side.CALLER)
    call.answered_by_peer(200, 101.0)
    call.outputs()
    call.transport_lost("Tor was lost", 102.0)
    assert ReleaseLine(111.0) in drain(call)
    _, outputs = run_until(call, 102.0, 120.0)
    assert HangUpPhone() in outputs


@pytest.mark.parametrize(("hung_up", "told"), [(102.0, "line-unopened"), (103.5, "line-lingering")])
def test_a_line_that_never_opened_is_not_said_to_stay_up(hung_up: float, told: str) -> None:
    call = make(Side.CALLEE)
    call.answered_by_phone(101.0)
    call.hung_up_by_phone(hung_up)
    events = [output.event for output in call.outputs() if isinstance(output, Tell)]
    assert [event for event in events if event.startswith("line-")] == [told]


def test_tor_lost_while_talking_changes_nothing() -> None:
    call = talking(Side.CALLER)
    call.transport_lost("Tor was lost", 105.0)
    assert drain(call) == []
    assert call.phase is Phase.TALKING


def test_hanging_up_repeats_bye_in_the_cells_until_it_is_confirmed() -> None:
    call = talking(Side.CALLER)
    call.hung_up_by_phone(110.0)
    assert drain(call) == [ReleaseLine(119.0), SendInCells("BYE")]
    call.tick(110.5)
    assert drain(call) == [SendInCells("BYE")]
    call.bye_confirmed(110.6)
    call.tick(110.6)
    assert drain(call) == [Unkey()]
    assert call.ended


def test_a_bye_that_nobody_confirms_goes_sealed() -> None:
    call = talking(Side.CALLER)
    call.hung_up_by_phone(110.0)
    now, outputs = run_until(call, 110.0, 120.0)
    assert outputs.count(SendNote("BYE")) == 1
    assert now == pytest.approx(110.0 + BYE_SECONDS)


def test_the_other_side_hears_a_tone_never_silence() -> None:
    call = talking(Side.CALLEE)
    call.bye_in_cells(120.0)
    outputs = drain(call)
    assert outputs[0] == SendInCells("200")
    assert Play(Tone.FAREWELL, 120.0 + FAREWELL_SECONDS) in outputs
    assert ReleaseLine(129.0) in outputs
    call.bye_in_cells(120.5)
    assert drain(call) == [SendInCells("200")], "a repeated BYE is answered again"
    now, outputs = run_until(call, 120.5, 130.0)
    assert outputs == [HangUpPhone(), Unkey()]
    assert now == pytest.approx(120.0 + SETTLE_SECONDS)


def test_a_lost_reflector_ends_the_call_for_the_phone_within_three_seconds() -> None:
    call = talking(Side.CALLEE)
    lost_at = 120.0 + 1.5  # what a line client takes to notice
    call.line_lost("the reflector is gone", lost_at)
    assert Play(Tone.FAREWELL, lost_at + FAREWELL_SECONDS) in drain(call)
    call.tick(lost_at + FAREWELL_SECONDS)
    assert HangUpPhone() in drain(call)
    assert lost_at + FAREWELL_SECONDS - 120.0 < 3.0


def test_a_voice_that_is_not_secured_ends_the_call_here_and_there() -> None:
    call = talking(Side.CALLER)
    call.insecure("the voice could not be secured", 110.0)
    assert drain(call) == [
        Play(Tone.FAREWELL, 110.0 + FAREWELL_SECONDS),
        ReleaseLine(119.0),
        SendInCells("BYE"),
    ]
    call.bye_confirmed(110.3)
    call.tick(110.3)
    assert drain(call) == [Unkey()]
    call.tick(110.0 + FAREWELL_SECONDS)
    assert drain(call) == [HangUpPhone()]
    assert (call.ended, call.reason) == (True, "the voice could not be secured")
    call.insecure("again", 120.0)
    assert drain(call) == []


def test_a_silent_peer_ends_the_call() -> None:
    call = talking(Side.CALLER)
    call.heard(106.0)
    call.tick(106.0 + UNHEARD_SECONDS)
    drain(call)
    call.tick(106.0 + PEER_SILENCE_SECONDS - 0.1)
    assert drain(call) == []
    call.tick(106.0 + PEER_SILENCE_SECONDS)
    assert drain(call)[0] == SendNote("BYE")


def test_a_peer_that_is_not_heard_is_a_tone_until_it_is() -> None:
    call = talking(Side.CALLER)
    assert not call.heard(106.0)
    assert call.deadline() == 106.0 + UNHEARD_SECONDS
    call.tick(106.0 + UNHEARD_SECONDS)
    assert drain(call) == [Play(Tone.WAITING, 106.0 + UNHEARD_SECONDS)]
    assert call.deadline() == 106.0 + PEER_SILENCE_SECONDS
    assert call.heard(110.0)
    assert drain(call) == [Play(Tone.NONE, 110.0)]
    assert not call.heard(110.1)
    assert call.phase is Phase.TALKING


def test_lines_that_do_not_meet_end_the_call() -> None:
    call = make(Side.CALLER)
    call.answered_by_peer(200, 101.0)
    call.outputs()
    assert call.deadline() == 101.0 + 5.0 + MEET_SECONDS
    _, outputs = run_until(call, 101.0, 200.0)
    assert SendNote("BYE") in outputs
    assert HangUpPhone() in outputs


def test_giving_up_while_ringing_cancels_by_message() -> None:
    call = make(Side.CALLER)
    call.hung_up_by_phone(101.0)
    assert drain(call) == [SendNote("CANCEL")]
    assert call.ended


def test_a_cancel_silences_the_phone() -> None:
    call = make(Side.CALLEE)
    call.note("CANCEL", 103.0)
    assert drain(call) == [HangUpPhone()]
    assert call.ended


def test_nobody_answers_at_the_callee() -> None:
    call = make(Side.CALLEE)
    call.tick(130.0)
    assert drain(call) == [HangUpPhone()], "and no message: the caller's own time runs out"
    assert call.ended


@pytest.mark.parametrize("side", list(Side))
def test_late_inputs_of_every_kind_are_harmless_once_the_call_ended(side: Side) -> None:
    call = talking(side)
    call.line_lost("gone", 105.0)
    run_until(call, 105.0, 120.0)
    call.outputs()
    pokes: tuple[Callable[[], None], ...] = (
        lambda: call.ring_sent(),
        lambda: call.answered_by_peer(200, 130.0),
        lambda: call.answered_by_phone(130.0),
        lambda: call.refused_by_phone(486),
        lambda: call.crossed(130.0),
        lambda: call.hung_up_by_phone(130.0),
        lambda: call.bye_in_cells(130.0),
        lambda: call.bye_confirmed(130.0),
        lambda: call.note("BYE", 130.0),
        lambda: call.line_lost("gone", 130.0),
        lambda: call.transport_lost("gone", 130.0),
        lambda: call.tick(999.0),
    )
    for poke in pokes:
        poke()
        assert drain(call) == []
        assert call.ended
