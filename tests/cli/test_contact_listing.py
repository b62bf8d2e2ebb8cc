"""Being found, and finding: the listing in the agent's files, and the search in its copy of all listings."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.agent import PlainFiles
from relay.agent.credentials import own_identity
from relay.agent.listings import DATABASE, open_listings
from relay.core import BayonneError, MisuseError, SystemEntropy
from relay.identity import Identity, format_address
from tests.cli.test_contact import NOW, book_of, configuration, refused, run


@dataclass(frozen=True)
class Listed:
    """What a contact point's listing says, as far as the index cares."""

    identity: bytes
    key: bytes
    name: str
    organisation: str = ""
    tags: Sequence[str] = ()
    languages: Sequence[str] = ("en",)
    revision: int = 1
    expires: int = int(NOW) + 86400


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


def test_a_listing_is_published_shown_and_withdrawn(alice: Path) -> None:
    assert "no listing is published" in run(alice, "listing", "show")
    arguments = ("--organisation", "Harbour Press", "--tag", "source", "--tag", "ships", "--language", "en")
    assert "published" in run(alice, "listing", "publish", "Alice of the Tower", *arguments)
    own = book_of(alice).listing
    assert own is not None
    assert (own.name, own.organisation, own.tags, own.languages) == (
        "Alice of the Tower",
        "Harbour Press",
        ("source", "ships"),
        ("en",),
    )
    shown = run(alice, "listing", "show")
    identity = own_identity(PlainFiles(alice.with_suffix("")), SystemEntropy())
    for text in ("Alice of the Tower", "Harbour Press", "source, ships", identity.address):
        assert text in shown
    run(alice, "listing", "publish", "Alice")
    again = book_of(alice).listing
    assert again is not None
    assert again.token_root == own.token_root, "who introduces themselves meanwhile still arrives"
    assert "withdrawn" in run(alice, "listing", "withdraw")
    assert "no listing is published" in run(alice, "listing", "show")
    assert isinstance(refused(alice, "listing", "withdraw"), MisuseError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("",),
        ("x" * 49,),
        ("Ali\u202ece",),
        ("Ali\nce",),
        ("Alice", "--organisation", "x" * 49),
        ("Alice", *(f"--tag={n}" for n in range(9))),
        ("Alice", "--tag", "x" * 25),
        ("Alice", *(f"--language=a{n}" for n in range(7))),
        ("Alice", "--language", "klingonese"),
    ],
)
def test_a_listing_that_contact_points_would_refuse_is_one_sentence(
    alice: Path, arguments: tuple[str, ...]
) -> None:
    assert isinstance(refused(alice, "listing", "publish", *arguments), BayonneError)
    assert book_of(alice).listing is None


def test_search_looks_at_this_machines_copy_alone(alice: Path, tmp_path: Path) -> None:
    error = refused(alice, "search", "harbour")
    assert isinstance(error, MisuseError)
    assert "has not fetched them yet" in str(error)
    assert not (tmp_path / "alice" / DATABASE).exists()
    carol = Identity.generate(SystemEntropy()).public_key
    dave = Identity.generate(SystemEntropy()).public_key

    async def fill() -> None:
        state = PlainFiles(tmp_path / "alice")
        index = await open_listings(state)
        try:
            await index.replace_many(
                [Listed(carol, carol, "Carol", "Harbour Press", ("ships",)), Listed(dave, dave, "Dave")]
            )
            state.write(DATABASE, await index.image())
        finally:
            await index.close()

    asyncio.run(fill())
    (row,) = json.loads(run(alice, "search", "harb", "carol", "--json"))
    assert row == {
        "name": "Carol",
        "organisation": "Harbour Press",
        "tags": ["ships"],
        "languages": ["en"],
        "address": format_address(carol),
    }
    shown = run(alice, "search", "harbour")
    assert "Carol  (Harbour Press, ships, en)" in shown
    assert format_address(carol) in shown
    assert "Dave" not in shown
    assert "nobody is listed" in run(alice, "search", "zebra")
