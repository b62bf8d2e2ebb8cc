"""Our own tor process: where it keeps its things, and how it ends."""

import os
import stat
from pathlib import Path

import pytest

from relay.core import SystemClock, TransportUnavailable
from relay.tor.process import TorProcess
from tests.tor.processes import gone_within, tor_processes

OFFLINE = ["DisableNetwork 1", "SocksPort 0"]


def tor(directory: Path) -> TorProcess:
    return TorProcess(directory, "tor", SystemClock())


async def test_it_starts_answers_and_stops(place: Path) -> None:
    process = tor(place / "tor")
    assert not process.running
    process.start(OFFLINE)
    await process.wait_control()
    assert process.running
    assert tor_processes(place) == {process.pid}
    assert stat.S_IMODE((place / "tor").stat().st_mode) == 0o700
    await process.stop()
    await process.stop()
    assert not process.running
    assert gone_within(place, 0)


async def test_a_state_directory_longer_than_a_sockets_path_may_be(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60) / "tor"
    assert len(os.fsencode(directory)) > 107
    process = tor(directory)
    process.start(OFFLINE)
    try:
        await process.wait_control()
        sockets = process.control_socket.parent
        assert sockets != directory
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    finally:
        await process.stop()
    assert not sockets.exists()


async def test_it_can_start_again_in_the_same_place(place: Path) -> None:
    for _ in range(2):
        process = tor(place / "tor")
        process.start(OFFLINE)
        await process.wait_control()
        await process.stop()


async def test_a_tor_that_refuses_its_options_says_where_to_look(place: Path) -> None:
    process = tor(place / "tor")
    process.start(["NoSuchOption 1"])
    with pytest.raises(TransportUnavailable, match=r"did not start; its log is tor/tor\.log"):
        await process.wait_control()
    await process.stop()


async def test_a_program_that_is_not_tor_does_not_start(place: Path) -> None:
    process = TorProcess(place / "tor", "true", SystemClock())
    process.start([])
    with pytest.raises(TransportUnavailable, match="did not start"):
        await process.wait_control()
    await process.stop()
