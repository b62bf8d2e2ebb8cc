"""The flows of one agent: every token bound at its contact point, in small groups that share nothing else."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import msgspec

from relay.agent.circuits import CallingCircuits, CircuitTimes, MessageSender
from relay.agent.flow import FlowClient, FlowTimes
from relay.agent.kept import NotKept
from relay.agent.regrouping import Group, Grouping, rise
from relay.core import Clock, ConfigurationError, Entropy, TransportUnavailable
from relay.forward_publish import TokenKey, current_period
from relay.wire import UNREADABLE, OnionDialer

GROUPS_FILE = "flows.json"

_AWAITED = 0.5
"""Seconds within which a flow comes up that somebody waits for."""

OnMessage = Callable[[str, str, bytes], None]
"""Called with (onion, token, body) for each message that comes down a flow."""


class State(Protocol):
    """What stays over restarts; a `relay.agent.kept.Kept` is one."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, content: bytes) -> None: ...


class _Ride:
    """One group and its flow; `timer` runs while a change waits for its moment."""

    def __init__(self, group: Group, flow: FlowClient) -> None:
        self.group = group
        self.flow = flow
        self.timer: asyncio.TimerHandle | None = None


class _Place:
    """One contact point: the tokens wanted there, their groups, the flows up or coming."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.keys: Mapping[str, TokenKey] = {}
        self.rides: list[_Ride] = []
        self.riding: dict[str, _Ride] = {}

    def index(self) -> None:
        """Once `keys` and the groups are settled: whose ride every wanted token is.  Groups given up have none."""
        kept = {id(group) for group in self.grouping.groups}
        self.riding = {
            token: ride
            for ride in self.rides
            if id(ride.group) in kept
            for token in ride.group.members
            if token in self.keys
        }

    def carried(self, ride: _Ride) -> dict[str, TokenKey]:
        """What is to be on its flow."""
        return {token: self.keys[token] for token in ride.group.members if self.riding.get(token) is ride}


class Flows:
    """Keeps every token bound that is wanted; see `relay.agent.regrouping` for who rides with whom.

    Every flow has a circuit and an instance id of its own, comes up at a moment of its own and connects again by
    itself.  `state` remembers the groups: without it, a restart would draw them again, and so tie them together.
    """

    def __init__(
        self,
        dialer: OnionDialer,
        clock: Clock,
        entropy: Entropy,
        on_message: OnMessage,
        *,
        state: State | None = None,
        times: FlowTimes | None = None,
        circuit_times: CircuitTimes | None = None,
    ) -> None:
        """Raises `ConfigurationError` where what `state` remembers is damaged."""
        self._dialer = dialer
        self._clock = clock
        self._entropy = entropy
        self._on_message = on_message
        self._state = state
        self._times = times or FlowTimes()
        self._places = {onion: _Place(Grouping(groups)) for onion, groups in _remembered(state).items()}
        self._unkept = False
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._circuits = CallingCircuits(dialer, clock, entropy, circuit_times or CircuitTimes())
        self._sender = MessageSender(dialer, entropy, self._circuits, answer=self._times.answer)

    async def follow(
        self,
        wanted: Mapping[str, Mapping[str, TokenKey]],
        *,
        alone: Collection[str] = frozenset(),
        periods: Mapping[str, int] | None = None,
    ) -> None:
        """Bind, at each contact point (by onion name), the tokens given (by their text), and no others.

        `alone`: those that strangers may know; they share a flow with none.  `periods`: of the tokens; those of two
        never share a flow.  One change at a contact point is made
        within 2 s, of several the others at moments spread over 60 s.
        """
        changed = self._unkept
        for onion in [*wanted, *(self._places.keys() - wanted.keys())]:
            place = self._places.setdefault(onion, _Place(Grouping()))
            place.keys = dict(wanted.get(onion, {}))
            changed = place.grouping.settle(place.keys, alone, self._entropy, periods) or changed
            self._arrange(onion, place)
        for onion in self._places.keys() - wanted.keys():
            if not self._places[onion].rides:
                del self._places[onion]
        if changed and self._state is not None:
            kept = {
                onion: place.grouping.groups for onion, place in self._places.items() if place.grouping.groups
            }
            # Where it cannot be kept, the flows are up all the same, and it is tried again at the next call.
            self._unkept = True
            with suppress(NotKept):
                self._state.write(GROUPS_FILE, msgspec.json.encode(kept))
                self._unkept = False

    def keep_warm(self, onions: Sequence[str]) -> None:
        """Contact points that contacts are rung at, those of most contacts first: streams there stand open."""
        self._circuits.keep(onions)

    def bound(self, onion: str, token: str) -> bool:
        """Whether `token` is taken up at `onion` right now."""
        place = self._places.get(onion)
        ride = place.riding.get(token) if place is not None else None
        return ride is not None and token in ride.flow.bound

    def bound_anywhere(self, tokens: Collection[str]) -> bool:
        """Whether one of `tokens` is taken up at any contact point."""
        return any(self.bound(onion, token) for onion in self._places for token in tokens)

    async def wait_bound(self, tokens: Sequence[tuple[str, str]], timeout: float) -> None:
        """Return once one of `tokens`, pairs of onion and token, is taken up.  Raises `TransportUnavailable`."""
        ours = [self._hasten(onion, token) for onion, token in tokens]
        if not any(ours):
            raise TransportUnavailable("no contact point is reached yet; try again")
        try:
            async with asyncio.timeout(timeout):
                while not any(self.bound(onion, token) for onion, token in tokens):
                    await self._changed.wait()
        except TimeoutError:
            raise TransportUnavailable("the contact point cannot be reached; is Tor running?") from None

    def hurry(self) -> None:
        """Tor is back: connect again soon, not after the next pause, yet no two flows together."""
        for place in self._places.values():
            resting = [ride for ride in place.rides if not ride.flow.connected]
            for number, ride in enumerate(self._entropy.draw(resting)):
                ride.flow.hurry(rise(self._entropy, first=number == 0))

    async def send(self, onion: str, token: str, body: bytes) -> None:
        """Hand a sealed body to a contact's contact point.  Raises `TransportUnavailable`."""
        await self._sender.send(onion, token, body)

    async def close(self, within: float = 0.0) -> None:
        """Let all flows go, each at a moment of its own `within` so many seconds."""
        for place in self._places.values():
            for ride in place.rides:
                self._drop(ride, self._entropy.uniform(0.0, within))
            place.rides.clear()
            place.index()
        await self._circuits.close()
        await asyncio.gather(*self._closing)

    def _arrange(self, onion: str, place: _Place) -> None:
        """See to it that the flows become what the groups are; what is up changes at a moment of its own."""
        grouped = {id(ride.group) for ride in place.rides}
        for group in place.grouping.groups:
            if id(group) not in grouped:
                keys = [place.keys[token] for token in group.members if token in place.keys]
                place.rides.append(_Ride(group, self._flow(onion, keys)))
        place.index()
        differing = [ride for ride in place.rides if ride.flow.tokens != place.carried(ride).keys()]
        new = [ride for ride in place.rides if not ride.flow.started]
        loop = asyncio.get_running_loop()
        # First what somebody may wait for: a token of the present period that comes.  Nobody waits for one that goes,
        # nor for one of the next period yet.
        present = current_period(self._clock.wall())

        def can_wait(ride: _Ride) -> bool:
            comes = not ride.flow.started or bool(place.carried(ride).keys() - ride.flow.tokens)
            return ride.group.period != present or not comes

        for number, ride in enumerate(sorted(self._entropy.draw(new + differing), key=can_wait)):
            after = rise(self._entropy, first=number == 0)
            if not ride.flow.started:
                ride.flow.start(after)
            elif ride.timer is None:
                ride.timer = loop.call_later(after, self._adjust, place, ride)

    def _adjust(self, place: _Place, ride: _Ride) -> None:
        """Make one flow what its group is now."""
        if ride.timer is not None:
            ride.timer.cancel()
            ride.timer = None
        carried = place.carried(ride)
        if not carried:
            place.rides.remove(ride)
            self._drop(ride)
            return
        for token in ride.flow.tokens - carried.keys():
            ride.flow.remove_token(token)
        for token in self._entropy.draw(carried.keys() - ride.flow.tokens):
            ride.flow.add_token(carried[token])

    def _hasten(self, onion: str, token: str) -> bool:
        """Somebody waits for this token; False where it is not ours."""
        place = self._places.get(onion)
        ride = place.riding.get(token) if place is not None else None
        if place is None or ride is None:
            return False
        if ride.timer is not None:
            self._adjust(place, ride)
        ride.flow.hurry(self._entropy.uniform(0.0, _AWAITED))
        return True

    def _flow(self, onion: str, keys: Sequence[TokenKey]) -> FlowClient:
        return FlowClient(
            self._dialer,
            onion,
            keys,
            self._clock,
            self._entropy,
            partial(self._receive, onion),
            on_change=self._note_change,
            times=self._times,
        )

    def _receive(self, onion: str, token: str, body: bytes) -> None:
        if token in self._places[onion].keys:
            self._on_message(onion, token, body)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _drop(self, ride: _Ride, after: float = 0.0) -> None:
        if ride.timer is not None:
            ride.timer.cancel()

        async def drop() -> None:
            await asyncio.sleep(after)
            await ride.flow.close()

        task = asyncio.get_running_loop().create_task(drop())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _remembered(state: State | None) -> dict[str, list[Group]]:
    content = state.read(GROUPS_FILE) if state is not None else None
    if content is None:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, list[Group]])
    except UNREADABLE:
        # Not passed over: groups drawn again would tie their tokens to the old ones.
        raise ConfigurationError(
            f"{GROUPS_FILE} in the state directory is damaged; restore it, or move it away to begin anew"
        ) from None
