"""Numbers that go on, whoever speaks."""

from hypothesis import given
from hypothesis import strategies as st

from relay.agent.onward import Onward
from relay.agent.phone_stream import PhoneStream
from relay.core import SeededEntropy
from relay.rtp import PhoneFormat, RtpPacket
from relay.rtp.cell import TIMESTAMP_STEP
from relay.rtp.voice_srtp import SrtpReceiver, SrtpSender, SrtpTag


def packet(number: int, ssrc: int = 1, payload: bytes = b"x") -> bytes:
    made = RtpPacket(96, number & 0xFFFF, TIMESTAMP_STEP * number & 0xFFFFFFFF, ssrc, payload, marker=True)
    return made.to_bytes()


def renumber(onward: Onward, packet: bytes) -> RtpPacket:
    return RtpPacket.parse(onward.renumber(packet))


@given(st.integers(0, 0xFFFF), st.lists(st.integers(1, 50), max_size=80))
def test_gaps_stay_gaps_and_numbers_begin_low(first: int, steps: list[int]) -> None:
    onward = Onward(SeededEntropy(first))
    made = [renumber(onward, packet(first))]
    assert made[0].sequence_number <= 1 << 14
    for step in steps:
        first += step
        made.append(renumber(onward, packet(first)))
    for before, after, step in zip(made, made[1:], steps, strict=False):
        assert (after.sequence_number - before.sequence_number) & 0xFFFF == step
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == step * TIMESTAMP_STEP
    assert {one.ssrc for one in made} == {onward.ssrc}
    assert made[0].payload == b"x"
    assert made[0].marker


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_another_source_goes_on_where_the_first_was(one: int, other: int) -> None:
    onward = Onward(SeededEntropy("two"))
    before, after = renumber(onward, packet(one)), renumber(onward, packet(other, ssrc=2))
    assert (after.sequence_number - before.sequence_number) & 0xFFFF == 1
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == TIMESTAMP_STEP


def test_what_came_late_keeps_its_place() -> None:
    onward = Onward(SeededEntropy("late"))
    numbers = [renumber(onward, packet(number)).sequence_number for number in (5, 7, 6, 8)]
    assert [number - numbers[0] for number in numbers] == [0, 2, 1, 3]


def test_another_source_goes_on_from_the_highest_and_not_from_one_that_came_late() -> None:
    onward = Onward(SeededEntropy("late and another"))
    numbers = [renumber(onward, packet(number)).sequence_number for number in (5, 7, 6)]
    after = renumber(onward, packet(900, ssrc=2)).sequence_number
    assert after == max(numbers) + 1


def test_a_phone_that_begins_anew_is_heard_however_late_in_the_call() -> None:
    """After a hold many phones have another SSRC, and a number of their own choice."""
    entropy = SeededEntropy("hold and resume")
    stream, onward = PhoneStream(entropy), Onward(entropy)
    stream.format = PhoneFormat(96)
    sender = SrtpSender(bytes(16), bytes(14), SrtpTag.HS80)
    receiver = SrtpReceiver(bytes(16), bytes(14), SrtpTag.HS80)
    for ssrc, first, count in ((1, 0, 45_000), (2, 30_000, 100), (1, 100, 100)):
        for number in range(first, first + count):
            said = stream.from_phone(packet(number, ssrc))
            assert said is not None
            sealed = sender.protect(onward.renumber(said[0].data))
            assert sealed is not None
            assert receiver.unprotect(sealed) is not None
