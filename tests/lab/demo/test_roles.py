"""Roles are heard, waited for, measured, and gone afterwards, whatever they do."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay.core import SystemClock
from relay.lab.demo import DemoFailed
from relay.lab.demo.roles import Role, ask

RoleMaker = Callable[[str], Role]


@pytest.fixture
async def role(tmp_path: Path) -> AsyncIterator[RoleMaker]:
    made: list[Role] = []

    def make(program: str) -> Role:
        made.append(Role("alice", [sys.executable, "-uc", program], tmp_path, SystemClock(), os.environ))
        return made[-1]

    yield make
    for one in made:
        one.kill()


async def test_events_are_heard_past_and_to_come(role: RoleMaker) -> None:
    alice = role(
        "import time\n"
        "print('no json'); print('[1]'); print('{\"event\": 7}')\n"
        'print(\'{"event":"voice","at":5.5,"direction":"sent"}\')\n'
        "time.sleep(0.2)\n"
        'print(\'{"event":"voice","at":6.5,"direction":"received"}\')\n'
        "time.sleep(30)\n"
    )
    await alice.start()
    received = await alice.wait_for("voice", "other", timeout=5, direction="received")
    assert (received.at, received.who) == (6.5, "alice")
    assert (await alice.wait_for("voice", timeout=5)).at == 5.5
    assert (await alice.wait_for("voice", timeout=5, after=6.0)).at == 6.5
    assert len(alice.history) == 2
    with pytest.raises(DemoFailed, match=r"did not come to 'crossed' within 0 s; see .*alice\.log"):
        await alice.wait_for("crossed", timeout=0.1)
    await alice.stop()
    assert alice.usage is not None
    assert alice.usage.peak_memory > 1_000_000
    with pytest.raises(ProcessLookupError):
        os.kill(alice.usage.pid, 0)


async def test_a_role_that_ends_says_why(role: RoleMaker) -> None:
    alice = role("import sys; sys.exit('bayonne: no such key')")
    await alice.start()
    with pytest.raises(DemoFailed, match=r"alice ended by itself \(status 1\).*no such key"):
        await alice.wait_for("ready", timeout=5)


async def test_a_failure_that_a_role_reports_ends_the_waiting(role: RoleMaker) -> None:
    alice = role('import time; print(\'{"event":"failed","reason":"nobody there"}\'); time.sleep(30)')
    await alice.start()
    with pytest.raises(DemoFailed, match="nobody there"):
        await alice.wait_for("ringing", timeout=5)


async def test_a_role_that_ignores_requests_is_ended_all_the_same(
    role: RoleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.lab.demo.roles._POLITE", 0.2)
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    alice = role(program + 'print(\'{"event":"ready"}\'); time.sleep(60)')
    await alice.start()
    await alice.wait_for("ready", timeout=5)
    await alice.stop()
    assert alice.usage is not None
    with pytest.raises(ProcessLookupError):
        os.kill(alice.usage.pid, 0)


async def test_our_own_commands_are_asked() -> None:
    assert "bayonne" in await ask("--version", environment=os.environ)
    with pytest.raises(DemoFailed, match="'bayonne no-such-command' failed"):
        await ask("no-such-command", environment=os.environ)
