"""Keys that outlive a process: tickets stay good, nonces are never used again, and no disk ever sees a key."""

import asyncio
import os
import socket
from pathlib import Path

from relay.core import SeededEntropy
from relay.media_reflector import Ticket
from relay.media_reflector.epochs import EpochChain
from relay.media_reflector.handshake import AgentHandshake
from relay.media_reflector.link import CellSender
from relay.node.kept_keys import SEALING_KEYS
from relay.node.service_manager import ServiceManager
from relay.rtp.cell import RTP_HEADER_SIZE
from tests.node.fake_tor import until
from tests.node.running import CLOCK, Manager, Run, Start


async def test_a_restart_honours_the_tickets_of_before_and_the_disk_never_saw_their_keys(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    running = await start(ServiceManager(str(manager.path)))
    await until(lambda: manager.read() and manager.held)
    office = running.node._office
    ticket = office.resumption(CLOCK.monotonic())
    used = office.resumption(CLOCK.monotonic())
    office.use(used.id, CLOCK.monotonic())
    keys = office.sealing_keys()
    await running.end()

    held = {SEALING_KEYS: os.dup(manager.held[SEALING_KEYS])}
    again = await start(ServiceManager(str(manager.path), held))
    found = again.node._office.find(ticket.id, CLOCK.monotonic())
    assert found is not None
    assert found.secret == ticket.secret
    assert again.node._office.find(used.id, CLOCK.monotonic()) is None, "one line each, over a restart too"
    await again.end()
    manager.read()
    _assert_nowhere(tmp_path, keys, ticket.secret)

    without = await start()
    assert without.node._office.find(ticket.id, CLOCK.monotonic()) is None


async def test_what_was_recorded_before_a_restart_gets_keys_of_its_own_after_it(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    """The worst case: a crash, before it was kept that the ticket was used."""
    service = ServiceManager(str(manager.path))
    first = await start(service)
    await until(lambda: manager.read() and manager.held)
    ticket = first.node._office.resumption(CLOCK.monotonic())
    keys_before_use = first.node._office.sealing_keys()
    one = await _recorded_handshake(first, ticket)
    await first.end()
    service.keep(SEALING_KEYS, keys_before_use)
    held = {SEALING_KEYS: os.dup(manager.held[SEALING_KEYS])}
    again = await start(ServiceManager(str(manager.path), held))
    other = await _recorded_handshake(again, ticket)
    assert one.current.up.ssrc == other.current.up.ssrc, "the same recording"
    assert one.current.down.key != other.current.down.key
    assert one.current.up.key != other.current.up.key


async def _recorded_handshake(running: Run, ticket: Ticket) -> EpochChain:
    """Always the same first message; the keys that the answer to it makes."""
    static = running.node._keys.static_key.public_key().public_bytes_raw()
    agent = AgentHandshake(ticket, static, 0x01020304, SeededEntropy("recorded"))
    cell = CellSender(0x01020304, SeededEntropy("header")).handshake(agent.first())
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        await loop.sock_sendto(line, cell, running.node._bound[0])
        async with asyncio.timeout(5):
            answer = await loop.sock_recv(line, 2048)
    opened = agent.answered(answer[RTP_HEADER_SIZE:])
    assert opened is not None
    return opened[1]


def _assert_nowhere(directory: Path, *secrets: bytes) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) >= 2
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            pieces = [secret[at : at + 16] for at in range(0, len(secret) - 15, 8)]
            assert not [piece for piece in pieces if piece in content], path.name
