"""The demo from beginning to end."""

import asyncio
import json
import signal
from collections.abc import Mapping

from rich.console import Console

from relay.core import BayonneError, Clock, Entropy
from relay.lab.captures import read_capture
from relay.lab.demo import results
from relay.lab.demo.call import CallTimes, hold_call
from relay.lab.demo.failure import DemoFailed
from relay.lab.demo.figures import (
    Figures,
    Row,
    Spoken,
    both_ways,
    find_leaks,
    name_lines,
    rows,
    setup_seconds,
)
from relay.lab.demo.options import PEOPLE, STAGGERED_TEARDOWN, START_DELAY, DemoOptions
from relay.lab.demo.stages import Stages
from relay.lab.demo.world import World
from relay.lab.lines import lines_seen
from relay.lab.observer import wall_minus_monotonic


async def run_demo(
    options: DemoOptions, console: Console, clock: Clock, entropy: Entropy, environment: Mapping[str, str]
) -> dict[str, object]:
    """Run everything, write the results, end everything; returns what summary.json holds.

    Raises `DemoFailed` when a step did not come or a figure missed its target, other `BayonneError`s when
    something is not installed, and `asyncio.CancelledError` on SIGTERM and Ctrl-C; nothing is left running
    in any case.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results.prepare(options.out, options.logs)
    console.print(
        f"A real call on this machine. Demo values: start delay at most {START_DELAY:.0f} s, "
        f"staggered teardown at most {STAGGERED_TEARDOWN:.0f} s (the product's own: 60 and 120 s).",
        highlight=False,
        soft_wrap=True,
    )
    stages = Stages(console, clock)
    async with World(options, stages, clock, entropy, environment) as world:
        with stages.shown():
            try:
                await world.build()
                times = await hold_call(world, stages, clock, options.seconds)
            except BayonneError as error:
                results.write_events(options.logs / "events.json", world.events())
                raise DemoFailed(f"{error} (every role's log and events.json: {options.logs}/)") from None
            with stages.stage("Results", "recordings, captures, picture, figures"):
                await world.end_call_equipment()
                summary, made = await asyncio.to_thread(_results, world, options, times, clock, entropy)
        results.print_table(console, summary, made, options.out)
        if options.json:
            print(json.dumps(summary))
        if options.keep_running:
            await _keep_running(world, console)
    if missed := [row.measure for row in made if not row.holds]:
        raise DemoFailed(
            f"the call was held, but not as it should be: {'; '.join(missed)}; logs are in {options.logs}"
        )
    return summary


def _results(
    world: World, options: DemoOptions, times: CallTimes, clock: Clock, entropy: Entropy
) -> tuple[dict[str, object], list[Row]]:
    """Work everything out and write it down."""
    spoken = {name: sound for name in PEOPLE if (sound := world.phones[name].spoken()) is not None}
    heard = {name: sound for name in PEOPLE if (sound := world.phones[name].heard()) is not None}
    events = world.events()
    datagrams = [datagram for capture in world.captures for datagram in read_capture(capture)]
    lines = name_lines(lines_seen(datagrams, world.taps, wall_minus_monotonic(clock)))
    speech = {name: Spoken(sound.start, world.speech[name].spoken) for name, sound in spoken.items()}
    figures = Figures(
        setup=setup_seconds(times),
        heard=both_ways(spoken, heard, speech, _lost_cells(world, times), times),
        lines=lines,
        leaks=find_leaks(lines, speech, times, entropy),
        seconds=options.seconds,
    )
    made = rows(figures)
    summary = results.summarise(figures, made, world.usage(), times, clock)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    results.write_recordings(options.out, heard)
    results.write_lines(options.out, lines)
    results.write_timeline(options.out, events, times)
    results.draw(options.out, lines, spoken, events, times)
    return summary, made


def _lost_cells(world: World, times: CallTimes) -> dict[str, int]:
    """What each agent says it missed of the other's cells."""
    found: dict[str, int] = {}
    for name in PEOPLE:
        for event in world.roles[name].history:
            lost = event.fields.get("lost_cells")
            if event.name == "call-ended" and event.at > times.dialled and isinstance(lost, int):
                found[name] = lost
    return found


async def _keep_running(world: World, console: Console) -> None:
    """Say how to use what still runs, and wait for Ctrl-C."""
    console.print("\nEverything keeps running. Register a real softphone, on this machine, at either agent:")
    for name in PEOPLE:
        account = world.accounts[name]
        console.print(
            f"  {name}: SIP server {account.server} (UDP or TCP), outbound proxy sip:{account.server};lr, "
            f"user {account.user}, password {account.password}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        "Codec Opus, no other encryption; dial 'bob' from alice's, or 'alice' from bob's. Ctrl-C ends it."
    )
    await asyncio.Event().wait()
