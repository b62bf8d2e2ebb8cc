"""Somebody between the agents of a call who opens every cell and rewrites everything: caught in each mode.

Mallory has what an attacker at the cells could have at most: she answered Alice's ring as Bob and rang Bob as Alice,
so that every cell of both is hers.  What she does not have are the two people and what earlier calls left behind.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from relay.agent.call_security import NOT_SECURED
from relay.agent.keyed_voice import KeyedVoice
from relay.agent.sealed_voice import SealedVoice
from relay.agent.voice_security import End
from relay.agent.zrtp_end import VOICE_SETTINGS, Told, ZrtpEnd
from relay.core import SeededEntropy
from relay.forward_publish import CallKeys
from relay.rtp import Kind
from relay.rtp.cell import TICK
from relay.zrtp import Continuity, Exchange, Expectation, KeyAgreementType, MemoryZidCache, Settings
from relay.zrtp import Secured as ZrtpSecured
from tests.agent.amnesic_zids import AmnesicZids
from tests.agent.secured_sides import SPOKEN, Side, SocketPhone, cross, keys, meet
from tests.agent.virtual_time import LoopClock, in_virtual_time

STRANGE = (b"not bob's   ", b"not alice's ")
MODES = {
    "phones": (True, True),
    "phone-agent": (True, False),
    "agent-phone": (False, True),
    "agents": (False, False),
}


@dataclass
class Half:
    """Mallory towards one side, in the name of the other."""

    towards: Side
    keyed: KeyedVoice
    zrtp: ZrtpEnd
    told: list[Told] = field(default_factory=list)

    @property
    def sas(self) -> str:
        (found,) = (told.sas for told in self.told if isinstance(told, ZrtpSecured))
        assert found is not None
        return found.text


class Mallory:
    """`rewrites`: she sealed both descriptions anew, with the hashes of her own Hellos in them.

    `zids` are those that she shows to Alice and to Bob.
    """

    def __init__(
        self,
        alice: Side,
        bob: Side,
        seed: str,
        settings: Settings,
        zids: tuple[bytes, bytes],
        *,
        rewrites: bool,
    ) -> None:
        self.heard: list[bytes] = []
        self.rewrites = rewrites
        self._clock = LoopClock()
        self._caches = [MemoryZidCache(self._clock) for _ in range(2)]
        self._begun = False
        # She is the callee in one call and the caller in the other.
        self.keys: list[CallKeys] = [keys(f"{seed}/alice")[1], keys(f"{seed}/bob")[0]]
        self.halves: list[Half] = []
        for number, (side, name) in enumerate(((alice, "bob"), (bob, "alice"))):
            self.halves.append(self._half(side, name, number, seed, settings, zids[number]))

    def _half(self, side: Side, name: str, number: int, seed: str, settings: Settings, zid: bytes) -> Half:
        chance = SeededEntropy(f"mallory/{seed}/{name}")
        keyed = KeyedVoice(self.keys[number], chance)
        told: list[Told] = []
        exchange = Exchange(settings, 66 + number, zid, self._caches[number], chance)
        zrtp = ZrtpEnd(exchange, self._clock, lambda data: keyed.packer.offer_zrtp(data), told.append)
        return Half(side, keyed, zrtp, told)

    def rewrite(self, half: Half) -> Callable[[SealedVoice], SealedVoice]:
        """What reaches the side of this half in place of the other side's description."""
        return lambda voice: replace(voice, zrtp_hashes=(half.zrtp.hello_hash,)) if self.rewrites else voice

    def begin(self) -> None:
        for half, key in zip(self.halves, self.keys, strict=True):
            # She owes an agent the auxsecret of the call that it is in with her, and has it.
            half.zrtp.begin(Expectation(auxsecret=key.auxsecret()))

    def between(self, sender: Side, body: bytes) -> bytes | None:
        """A body of one side arrives; hers leaves for the other."""
        half = next(half for half in self.halves if half.towards is sender)
        (other,) = (half for half in self.halves if half.towards is not sender)
        for datagram in half.keyed.open(body, self._clock.monotonic()) or []:
            if datagram.kind is Kind.ZRTP:
                half.zrtp.receive(datagram.data)
            elif (opened := half.zrtp.unprotect(datagram.data)) is not None:
                self.heard.append(opened[12:])
                self._say_on(other, datagram.kind, opened)
        return other.keyed.next_body()

    def _say_on(self, half: Half, kind: Kind, packet: bytes) -> None:
        sealed = half.zrtp.protect(packet)
        if sealed is not None and kind is Kind.VOICE:
            half.keyed.packer.offer_voice(sealed)
        elif sealed is not None:
            half.keyed.packer.offer_event(sealed)

    def close(self) -> None:
        for half in self.halves:
            half.zrtp.close()


class RememberedZids(AmnesicZids):
    """Knows who was there in the last call."""

    last = b""

    def peer(self, contact_id: str, end: End) -> bytes:
        return self.last


@dataclass
class People:
    """Alice and Bob from call to call: what their agents and phones remember."""

    modes: tuple[bool, bool]
    settings: Settings = VOICE_SETTINGS

    def __post_init__(self) -> None:
        clock = LoopClock()
        self.zids = [RememberedZids(clock, SeededEntropy(name)) for name in ("alice", "bob")]
        self.caches = [MemoryZidCache(clock) for _ in range(2)]
        self.calls = 0

    @property
    def shown(self) -> tuple[bytes, bytes]:
        """The ZIDs of Alice's end and of Bob's."""
        alice, bob = (
            name.encode().ljust(12) if zrtp else zids.own("0a")
            for name, zrtp, zids in zip(("alice", "bob"), self.modes, self.zids, strict=True)
        )
        return alice, bob

    async def call(
        self, *, mallory: tuple[bytes, bytes] | None = None, rewrites: bool = True
    ) -> tuple[Side, Side, Mallory | None]:
        """One call, in which Alice speaks, until everything was said; with somebody between who shows these ZIDs."""
        self.calls += 1
        clock = LoopClock()
        alice, bob = (
            Side(
                name,
                SocketPhone(name, clock, zrtp=zrtp, settings=self.settings, cache=cache),
                zids,
            )
            for name, zrtp, zids, cache in zip(
                ("alice", "bob"), self.modes, self.zids, self.caches, strict=True
            )
        )
        seed = f"call {self.calls}"
        her = Mallory(alice, bob, seed, self.settings, mallory, rewrites=rewrites) if mallory else None
        if her is None:
            await meet(alice, bob)
            held = keys(seed)
        else:
            towards_alice, towards_bob = her.halves
            await meet(alice, bob, to_callee=her.rewrite(towards_bob), to_caller=her.rewrite(towards_alice))
            held = keys(f"{seed}/alice")[0], keys(f"{seed}/bob")[1]
        for side, key in zip((alice, bob), held, strict=True):
            side.voice.key(key)
        if her is not None:
            her.begin()
        middle = None if her is None else her.between
        await cross(alice, bob, 3.0, middle)
        for number in range(20):
            if not alice.broken:
                alice.phone.say(bytes([number]) + SPOKEN[1:])
            await cross(alice, bob, TICK, middle)
        await cross(alice, bob, 0.2, middle)
        if her is not None:
            her.close()
        for side, zids in zip((alice, bob), self.zids, strict=True):
            if side.secured and side.secured[-1].agreement is not None:
                zids.last = side.secured[-1].agreement.peer_zid
        return alice, bob, her


def alarms_at(side: Side) -> list[str]:
    """Of whoever is the end there."""
    return side.alarm_kinds if side.security.end and side.security.end.end is End.AGENT else side.phone.alarms


async def end(*sides: Side) -> None:
    for side in sides:
        side.close()
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("agreement", [KeyAgreementType.X255, KeyAgreementType.DH3K])
@pytest.mark.parametrize("mode", MODES)
def test_in_a_first_call_the_two_read_out_different_things(mode: str, agreement: KeyAgreementType) -> None:
    """And nothing else can tell, so this is also the leaky control: until they compare, she hears every word."""

    @in_virtual_time
    async def scenario() -> None:
        settings = replace(VOICE_SETTINGS, offer=replace(VOICE_SETTINGS.offer, key_agreements=(agreement,)))
        alice, bob, her = await People(MODES[mode], settings).call(mallory=STRANGE)
        assert her is not None
        assert alice.secured
        assert bob.secured
        assert not alarms_at(alice) + alarms_at(bob)
        assert (alice.sas, bob.sas) == (her.halves[0].sas, her.halves[1].sas)
        assert alice.sas != bob.sas
        assert {one[0] for one in her.heard if one[1:] == SPOKEN[1:]} == set(range(20)), "the attack works"
        assert [one.payload[1:] for one in bob.phone.heard] == [SPOKEN[1:]] * 20, "and nobody hears it"
        await end(alice, bob)
        without = await People(MODES[mode], settings).call()
        assert without[0].sas == without[1].sas is not None
        await end(*without[:2])

    scenario()


@pytest.mark.parametrize("mode", MODES)
def test_after_a_call_without_her_both_ends_are_alarmed_when_she_shows_their_zids(mode: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        people = People(MODES[mode])
        alice, bob, _ = await people.call()
        assert not alarms_at(alice) + alarms_at(bob)
        await end(alice, bob)
        own, peers = people.shown
        alice, bob, her = await people.call(mallory=(peers, own))
        assert her is not None
        for side in (alice, bob):
            assert alarms_at(side) == ["cache_mismatch"]
        assert alice.sas != bob.sas
        await end(alice, bob)
        alice, bob, _ = await people.call()
        for side in (alice, bob):
            agreed = side.secured[-1].agreement
            assert agreed is None or agreed.continuity is Continuity.CONTINUED, "they find each other again"
            assert "cache_mismatch" not in alarms_at(side)
        await end(alice, bob)

    scenario()


@pytest.mark.parametrize("mode", ["phone-agent", "agent-phone", "agents"])
def test_after_a_call_without_her_agents_are_alarmed_when_she_shows_zids_of_her_own(mode: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        people = People(MODES[mode])
        await end(*(await people.call())[:2])
        alice, bob, _ = await people.call(mallory=STRANGE)
        for side in (alice, bob):
            agreed = side.secured[-1].agreement
            if agreed is not None:
                assert side.alarm_kinds == ["other_zid"]
                assert not agreed.verified
        assert alice.sas != bob.sas
        await end(alice, bob)

    scenario()


@pytest.mark.parametrize("mode", MODES)
def test_where_she_cannot_seal_the_descriptions_anew_she_gets_no_call(mode: str) -> None:
    """The cells' keys alone are not enough: no end takes a Hello that its peer's description did not announce."""

    @in_virtual_time
    async def scenario() -> None:
        alice, bob, her = await People(MODES[mode]).call(mallory=STRANGE, rewrites=False)
        assert her is not None
        assert not her.heard
        assert not bob.phone.heard
        for side in (alice, bob):
            assert side.alarm_kinds == ["hello_hash_mismatch"]
            assert side.broken == [NOT_SECURED]
            assert not side.secured
        await end(alice, bob)

    scenario()
