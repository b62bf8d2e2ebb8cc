"""The call itself: alice dials bob by name, they speak, she hangs up, the lines run out."""

import asyncio
from dataclasses import dataclass

from relay.core import Clock
from relay.lab.demo.failure import DemoFailed
from relay.lab.demo.options import PEOPLE, STAGGERED_TEARDOWN, START_DELAY
from relay.lab.demo.roles import Event
from relay.lab.demo.stages import Stages
from relay.lab.demo.world import World, together
from relay.lab.softphones import PhoneReport, Softphone

_RING_LIMIT = 35.0
_RING_HEARD = 1.0
"""Seconds that bob's phone rings before he picks up."""

_CONNECT_LIMIT = START_DELAY + 30.0
_PARTING_LIMIT = 15.0
_STEP = 0.25


@dataclass(frozen=True, slots=True)
class CallTimes:
    """When (monotonic): `voice` is when both agents had received the first voice of the other."""

    dialled: float
    rang: float
    answered: float
    voice: float
    hung_up: float
    heard_hang_up: float
    ended: float


async def hold_call(world: World, stages: Stages, clock: Clock, seconds: float) -> CallTimes:
    """Hold one call to the end of both lines.  Raises `DemoFailed` when a step does not come."""
    alice, bob = (world.phones[name] for name in PEOPLE)
    with stages.stage("alice dials bob", "a sealed ring travels over Tor to bob's contact point"):
        dialled = clock.monotonic()
        await alice.dial("bob")
        rang = (await _report(bob, "CALL_INCOMING", _RING_LIMIT, "bob's phone did not ring", world)).at
        stages.note(f"bob's phone rings after {rang - dialled:.2f} s")
        await asyncio.sleep(_RING_HEARD)
    with stages.stage("bob answers", "the sealed answer travels back"):
        answered = clock.monotonic()
        await bob.accept()
        voice = await _connect(world, stages, dialled)
    with stages.stage(f"They speak for {seconds:.0f} s", "recorded speech both ways"):
        await _speak(world, stages, clock, voice, seconds, dialled)
        stages.note("recorded speech both ways", countdown=True)
        hung_up = clock.monotonic()
        await alice.hang_up()
    with stages.stage("alice hangs up", "bob hears a tone at once, in the cells"):
        report = await _report(bob, "CALL_CLOSED", _PARTING_LIMIT, "bob's phone heard no end", world)
        await together(
            *(
                world.roles[name].wait_for("call-ended", timeout=_PARTING_LIMIT, after=dialled)
                for name in PEOPLE
            )
        )
    await _run_out(world, stages, hung_up)
    return CallTimes(dialled, rang, answered, voice, hung_up, report.at, clock.monotonic())


async def _connect(world: World, stages: Stages, dialled: float) -> float:
    """From the answer to voice both ways; says the drawn start delays while it waits."""

    async def say_delays() -> None:
        drawn: list[str] = []
        for name in PEOPLE:
            event = await world.roles[name].wait_for("answered", timeout=_CONNECT_LIMIT, after=dialled)
            if isinstance(delay := event.fields.get("delay"), int | float):
                drawn.append(f"{name} {delay:.1f} s")
            stages.note(
                f"start delay before a line opens, drawn: {', '.join(drawn)} (demo value: at most 5 s)"
            )

    async def first_voice(name: str) -> Event:
        return await world.roles[name].wait_for(
            "voice", timeout=_CONNECT_LIMIT, after=dialled, direction="received"
        )

    saying = asyncio.create_task(say_delays())
    try:
        await together(*(first_voice(name) for name in PEOPLE))
        return max([(await first_voice(name)).at for name in PEOPLE])
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


async def _speak(
    world: World, stages: Stages, clock: Clock, begun: float, seconds: float, dialled: float
) -> None:
    while (left := begun + seconds - clock.monotonic()) > 0:
        stages.note(f"recorded speech both ways, {left:.0f} s to go", countdown=True)
        await asyncio.sleep(min(_STEP, left))
        for name in PEOPLE:
            world.roles[name].check()
            if not world.phones[name].running:
                raise DemoFailed(f"{name}'s softphone ended by itself; its log is {name}-phone.log")
            for event in world.roles[name].history:
                if event.name in ("call-ended", "hang-up", "failed") and event.at > dialled:
                    reason = event.fields.get("reason", "hung up")
                    raise DemoFailed(f"the call ended early at {name}: {reason}")


async def _run_out(world: World, stages: Stages, hung_up: float) -> None:
    """Each line stays up, full of chaff, for a time of its own."""
    limit = STAGGERED_TEARDOWN + 10.0
    drawn: list[str] = []
    with stages.stage("Staggered teardown", "each line stays up, full of chaff"):
        for name in PEOPLE:
            for event in world.roles[name].history:
                stagger = event.fields.get("stagger")
                if event.at >= hung_up and isinstance(stagger, int | float):
                    drawn.append(f"{name} {stagger:.1f} s")
        if drawn:
            stages.note(f"lines stay up, full of chaff, drawn: {', '.join(drawn)} (demo value: at most 15 s)")
        await together(
            *(world.roles[name].wait_for("line-closed", timeout=limit, after=hung_up) for name in PEOPLE)
        )


async def _report(phone: Softphone, kind: str, limit: float, otherwise: str, world: World) -> PhoneReport:
    """Wait for a softphone's report, or for the reason why it cannot come."""

    async def refused() -> None:
        # A refusal ends alice's call at her phone; bob's never hears of it.
        report = await world.phones["alice"].wait_for("CALL_CLOSED", "GONE", timeout=limit)
        raise DemoFailed(f"{otherwise}: alice's phone was told '{report.detail}'")

    async def wanted() -> PhoneReport:
        report = await phone.wait_for(kind, "GONE", timeout=limit)
        if report.kind == "GONE":
            raise DemoFailed("a softphone ended by itself; see the logs directory")
        return report

    waiting = asyncio.create_task(wanted())
    watching = [asyncio.create_task(refused())] if kind == "CALL_INCOMING" else []
    try:
        done, _ = await asyncio.wait((waiting, *watching), return_when=asyncio.FIRST_COMPLETED)
        if waiting not in done:
            for task in done:
                task.result()
        return await waiting
    except TimeoutError:
        raise DemoFailed(f"{otherwise} within {limit:.0f} s") from None
    finally:
        for task in (waiting, *watching):
            task.cancel()
        await asyncio.gather(waiting, *watching, return_exceptions=True)
