"""A real call, then a search of what the contact point and the reflectors hold of it: files, logs, traffic, counts.

For either party: identity (key and address, in every spelling), name, line address, softphone account, pairwise secret,
and the call's inner identifiers.  The search proves itself twice: it finds all of them where they belong, at the two
agents, and it finds a leak that is planted at the contact point.
"""

import io
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from relay.agent import PlainFiles
from relay.agent.credentials import own_identity, own_softphone
from relay.core import SystemEntropy, configure_logging
from relay.forward_publish import SEALED_SIZE
from relay.identity import format_address
from relay.tor import TorClient, TorSettings
from tests.integration.world import ALICE, BOB, LINE_ADDRESSES, PEOPLE, World, open_world
from tests.knowledge.needles import files_below, search, spellings

pytestmark = [pytest.mark.call, pytest.mark.asyncio(loop_scope="module")]


@dataclass(slots=True)
class Held:
    """A call that was held to its end."""

    world: World
    network: Path
    needles: dict[str, list[bytes]]
    log: io.StringIO = field(default_factory=io.StringIO)

    def contact_point(self) -> dict[str, bytes]:
        """All that the contact point has: its files, its streams, its counts; and the log of all roles."""
        node = self.world.contact_point
        assert node is not None
        places = files_below(self.world.directory / "contact-point")
        places |= {f"stream '{stream}'": bytes(data) for stream, data in self.world.taps.items()}
        places["counts"] = repr(node.counters.snapshot()).encode()
        places["log"] = self.log.getvalue().encode()
        return places

    def reflectors(self) -> dict[str, bytes]:
        """All that the reflectors wrote anywhere."""
        places: dict[str, bytes] = {}
        for number in (1, 2):
            places |= files_below(self.world.directory / f"reflector-{number}")
        places["reports"] = "\n".join(self.world.reflector_reports).encode()
        places["status"] = repr([one.node.status() for one in self.world.reflectors]).encode()
        places["log"] = self.log.getvalue().encode()
        return places


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(private_network: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Held]:
    directory = tmp_path_factory.mktemp("knowledge")
    log = io.StringIO()
    configure_logging(level="debug", stream=log)
    async with open_world(private_network, directory) as world:
        needles: dict[str, list[bytes]] = {}
        for name in PEOPLE:
            state = PlainFiles(directory / name)
            identity = own_identity(state, SystemEntropy())
            account = own_softphone(state, name, SystemEntropy())
            needles |= {
                f"{name}'s identity key": spellings(identity.public_key),
                f"{name}'s secret seed": spellings(identity.seed),
                f"{name}'s address": [format_address(identity.public_key).encode()],
                f"{name}'s name": [name.encode()],
                f"{name}'s line address": [LINE_ADDRESSES[name].encode()],
                f"{name}'s softphone password": [account.password.encode()],
            }
        (contact,) = world.book(ALICE)
        needles["the pairwise secret"] = spellings(contact.secret)
        needles["the inner dialog"] = [b"sealed.invalid", b"bayonne.alt", b"x-bayonne-join", b"INVITE"]
        await world.connect()
        await world.alice.phone.hang_up()
        await world.quiet()
        yield Held(world, private_network, needles, log)
    structlog.reset_defaults()


async def test_the_contact_point_knows_neither_party(held: Held) -> None:
    places = held.contact_point()
    assert {
        "stream 'sip in'",
        "stream 'sip out'",
        "stream 'records in'",
        "stream 'records out'",
    } <= places.keys()
    assert len(places["stream 'sip in'"]) > 2 * SEALED_SIZE, "the ring and its answer passed here"
    assert search(held.needles, places) == []


async def test_the_reflectors_logs_and_files_know_neither_party(held: Held) -> None:
    assert sum(one.node.reflector.counts()["cells_received"] for one in held.world.reflectors) > 50
    assert search(held.needles, held.reflectors()) == []


async def test_the_contact_points_database_holds_opaque_records_alone(held: Held) -> None:
    database = sqlite3.connect(held.world.directory / "contact-point" / "records.db")
    try:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        rows = {table: list(database.execute(f"select * from {table}")) for table in tables}
    finally:
        database.close()
    assert sum(len(found) for found in rows.values()) >= 2, "both published"
    content = {f"table {table}": repr(found).encode() for table, found in rows.items()}
    assert search(held.needles, content) == []


async def test_every_message_had_one_size_and_nothing_that_differs_between_users(held: Held) -> None:
    messages = bytes(held.world.taps["sip in"]).split(b"MESSAGE sip:")[1:]
    assert len(messages) >= 2
    heads = [message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:] for message in messages]
    names = [[line.partition(b":")[0] for line in head] for head in heads]
    assert all(found == names[0] for found in names)
    assert {len(message.partition(b"\r\n\r\n")[0]) for message in messages} == {
        len(messages[0].partition(b"\r\n\r\n")[0])
    }
    assert all(f"Content-Length: {SEALED_SIZE}".encode() in head for head in heads)


async def test_control_the_search_finds_everything_where_it_belongs(held: Held) -> None:
    places = files_below(held.world.directory / ALICE) | files_below(held.world.directory / BOB)
    found = " ".join(search(held.needles, places))
    for needle in (
        f"{ALICE}'s secret seed",
        f"{BOB}'s secret seed",
        f"{ALICE}'s softphone password",
        f"{BOB}'s name",
    ):
        assert needle in found


async def test_control_a_planted_leak_is_found(held: Held) -> None:
    """A sender that is not as careful as ours: a From header with an identity in it."""
    node = held.world.contact_point
    assert node is not None
    address = held.needles[f"{ALICE}'s address"][0].decode()
    settings = TorSettings(network_directory=str(held.network))
    tor = await TorClient.launch(settings, held.world.directory / "careless", held.world.clock)
    try:
        reader, writer = await tor.open(node.onion, 5060, isolation="careless")
        writer.write(
            (
                f"MESSAGE sip:{'a' * 52}@{node.onion}.onion;transport=tcp SIP/2.0\r\n"
                f"Via: SIP/2.0/TCP anonymous.invalid;branch=z9hG4bKcareless\r\nMax-Forwards: 70\r\n"
                f"From: <sip:{ALICE}@{address}.bayonne.alt>;tag=1\r\nTo: <sip:x@anonymous.invalid>\r\n"
                f"Call-ID: careless\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        )
        await writer.drain()
        await reader.read(100)
        writer.close()
    finally:
        await tor.close()
    found = search(held.needles, held.contact_point())
    assert f"{ALICE}'s address in stream 'sip in'" in found
    assert f"{ALICE}'s name in stream 'sip in'" in found
