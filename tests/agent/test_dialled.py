"""Whom a dialled URI means: what stands before any host but the agent's own is no petname."""

from pathlib import Path

import pytest

from relay.agent.dialled import NONE_OF_YOURS
from relay.core import SystemEntropy
from relay.identity import Identity
from tests.agent.people import open_world
from tests.agent.virtual_time import in_virtual_time

ACCOUNT = "al.ice@example.org"

HERE = ["127.0.0.1", "127.0.0.1:5060", "127.8.9.10", "[::1]", "localhost", "LOCALHOST.", "bayonne.alt"]


@pytest.mark.parametrize("host", HERE)
def test_at_the_agent_itself_a_name_is_a_petname(tmp_path: Path, host: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            call = world.alice.dial("bob", host=host)
            await world.alice.wait("ring-sent")
            assert call.said == [("progress", 180)]

    scenario()


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example",
        "example.org.evil.example",
        "localhost.example",
        "bayonne.alt.example",
        "xbayonne.alt",
        "192.0.2.7",
        "[2001:db8::7]",
        "laptop",
        f"{'b' * 56}.onion",
    ],
)
@pytest.mark.parametrize("account", ["", "bob@example.org"])
def test_a_foreign_host_never_rings_who_is_called_so_here(tmp_path: Path, host: str, account: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            world.alice.found_as("bob", account)
            before = list(world.alice.sent)
            call = world.alice.dial("bob", host=host)
            assert call.said == [("refuse", 404)]
            assert (world.alice.sent, world.alice.agent._tasks) == (before, set())
            (failed,) = world.alice.events("failed")
            assert failed.fields == {"status": 404, "reason": NONE_OF_YOURS}
            assert "contact add" in NONE_OF_YOURS

    scenario()


@pytest.mark.parametrize(
    ("user", "host"),
    [("al.ice", "example.org"), ("AL.ICE", "Example.Org."), ("al%2Eice", "example.org:5070")],
)
def test_an_account_rings_the_contact_that_was_found_there_whatever_its_name(
    tmp_path: Path, user: str, host: str
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            world.alice.found_as("bob", ACCOUNT)
            call = world.alice.dial(user, host=host)
            assert (await world.alice.wait("ring-sent")).fields["contact"] == "bob"
            assert call.said == [("progress", 180)]

    scenario()


@in_virtual_time
async def test_an_address_rings_whose_it_is(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        call = world.alice.dial("somebody", host=f"{world.bob.address}.bayonne.alt")
        await world.alice.wait("ring-sent")
        assert call.said == [("progress", 180)]


@pytest.mark.parametrize("person", ["alice", "bob"])
def test_what_is_no_address_or_nobody_s_never_rings_who_is_called_so_here(
    tmp_path: Path, person: str
) -> None:
    """Mistyped in whatever way, of somebody or of one's own."""

    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            address = world.people[person].address
            hosts = [
                f"{label}.bayonne.alt"
                for label in (
                    Identity.generate(SystemEntropy()).address,
                    "b" * 56,
                    f"{address[:-1]}{'7' if address[-1] != '7' else '2'}",
                    address[:-1],
                    f"{address}a",
                    f"x.{address}",
                    f"{address}.x",
                    "www",
                    "bayonne.alt",
                )
            ]
            for host in hosts:
                call = world.alice.dial("bob", host=host)
                assert call.said == [("refuse", 404)], host
            told = [failed.fields for failed in world.alice.events("failed")]
            assert told == [{"status": 404, "reason": NONE_OF_YOURS}] * len(hosts)
            assert not world.alice.sent

    scenario()


@in_virtual_time
async def test_at_one_s_own_address_a_name_is_a_petname(tmp_path: Path) -> None:
    """There one's phone may be registered."""
    async with open_world(tmp_path) as world:
        call = world.alice.dial("bob", host=f"{world.alice.address}.bayonne.alt")
        await world.alice.wait("ring-sent")
        assert call.said == [("progress", 180)]


@pytest.mark.parametrize("host", ["127.0.0.1", "bayonne.alt"])
def test_of_a_name_that_is_no_contact_s_nothing_is_told(tmp_path: Path, host: str) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with open_world(tmp_path) as world:
            assert world.alice.dial("nobody", host=host).said == [("refuse", 404)]
            assert not world.alice.events("failed")

    scenario()
