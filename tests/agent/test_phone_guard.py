"""ZRTP between a phone and its own agent: its wish, never a condition, and once there are keys nothing goes without."""

from relay.agent.phone_guard import DROPPED, OwnPhone
from relay.agent.zrtp_end import Told
from relay.core import SeededEntropy
from relay.rtp import RtpPacket
from relay.zrtp import MemoryZidCache
from tests.agent.secured_sides import Side, cross
from tests.agent.test_call_security import called, side
from tests.agent.virtual_time import LoopClock, in_virtual_time

VOICE = RtpPacket(8, 1, 160, 7, bytes(160)).to_bytes()


def names(one: Side) -> list[str]:
    return [name for name, _ in one.events if name.startswith("phone-")]


@in_virtual_time
async def test_what_a_phone_without_zrtp_says_and_hears_is_left_as_it_is() -> None:
    clock = LoopClock()
    sent: list[bytes] = []
    told: list[Told] = []
    guard = OwnPhone(
        bytes(12), MemoryZidCache(clock), clock, SeededEntropy("guard"), sent.append, told.append
    )
    arrival = guard.arrived(VOICE)
    assert (arrival.taken, arrival.rtp) == (True, VOICE)
    assert guard.leaves(VOICE) == VOICE
    assert not sent
    assert not told
    guard.close()


@in_virtual_time
async def test_once_there_are_keys_nothing_goes_without() -> None:
    old, other = side("old", zrtp=True, codec="g711"), side("other", zrtp=False)
    async with called(old, other):
        await cross(old, other, 3.0)
        assert names(old) == ["phone-secured"]
        guard = old.voice.leg.guard
        assert guard is not None
        chance = SeededEntropy("noise")
        for noise in (VOICE, b"", *(chance.token(size) for size in (12, 100, 182))):
            assert guard.arrived(noise) == DROPPED
        sealed = guard.leaves(VOICE)
        assert sealed is not None
        assert len(sealed) == len(VOICE) + 10
        assert bytes(160) not in sealed


@in_virtual_time
async def test_another_hello_than_the_phone_announced_is_not_taken_and_the_call_goes_on() -> None:
    old, other = side("old", zrtp=True, codec="g711"), side("other", zrtp=False)
    async with called(old, other):
        guard = old.voice.leg.guard
        assert isinstance(guard, OwnPhone)
        guard.announced = (f"1.10 {1:064x}",)
        await cross(old, other, 32.0)
        assert names(old)[0] == "phone-alarm"
        assert names(old)[-1] == "phone-plain"
        assert not old.broken, "between the two agents all is well"
        assert old.secured
        other.phone.heard.clear()
        old.phone.say(bytes(160))
        await cross(old, other, 0.5)
        assert other.phone.heard
