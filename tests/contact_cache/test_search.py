"""Search over listings: what is found and in which order, on SQLite and on PostgreSQL alike."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.contact_cache.listing_tables import LAYOUT
from relay.contact_cache.search import MOST_FOUND, ListingIndex
from relay.core import ConfigurationError, TransportUnavailable

SOON = 1_900_000_000


@dataclass(frozen=True, slots=True)
class Listed:
    identity: bytes
    key: bytes
    name: str
    organisation: str = ""
    tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    revision: int = 1
    expires: int = SOON


def listed(
    name: str,
    organisation: str = "",
    tags: str = "",
    languages: str = "",
    *,
    revision: int = 1,
    period: int = 1,
) -> Listed:
    """A listing of whoever `name` or, after a "|", another word says."""
    name, _, owner = name.partition("|")
    identity = hashlib.sha256((owner or name).encode()).digest()
    key = hashlib.sha256(identity + bytes([period])).digest()
    lists = tuple(tags.split()), tuple(languages.split())
    return Listed(identity, key, name, organisation, *lists, revision, SOON + period)


CORPUS = (
    listed("Anna Jović", "Zeitung am Rhein", "journalist press", "de en"),
    listed("Annabel Stone", "Human Rights Union", "lawyer human-rights", "en"),
    listed("Stone & Partners", "Anna Foundation", "lawyer", "en fr"),
    listed("Rhein-Anwälte", "", "lawyer anna", "de"),
    listed("Łukasz Øst", "Radio Łódź", "radio", "pl"),
    listed("记者之家", "东京", "press", "zh-Hans ja"),
    listed("محمد رضا", "راديو", "press", "ar fa"),
    listed('O\'Neill "Quote" OR NEAR(x)', "* : ^ name:", "c++", "en-IE"),
)


@pytest.fixture
async def index(database_url: str) -> AsyncIterator[ListingIndex]:
    async with opened(database_url) as index:
        yield index


@asynccontextmanager
async def opened(url: str, most: int = 1000) -> AsyncIterator[ListingIndex]:
    index = await ListingIndex.open(url, most=most)
    try:
        yield index
    finally:
        await index.close()


async def names(index: ListingIndex, words: str, limit: int = 20) -> list[str]:
    found = await index.search(words, limit=limit)
    assert [each.rank for each in found] == list(range(1, len(found) + 1))
    return [each.name for each in found]


async def test_every_word_must_begin_a_word(index: ListingIndex) -> None:
    assert await index.replace_many(CORPUS) == len(CORPUS) == await index.count()
    assert await names(index, "jovic ANNA") == ["Anna Jović"]
    assert set(await names(index, "law sto")) == {"Annabel Stone", "Stone & Partners"}
    assert await names(index, "lukasz") == await names(index, "łódź, ost") == ["Łukasz Øst"]
    assert await names(index, "记者") == await names(index, "东京") == ["记者之家"]
    assert await names(index, "محمد") == ["محمد رضا"]
    assert await names(index, "rights human") == ["Annabel Stone"]
    assert await names(index, "anna nobody") == await names(index, "nna") == []


async def test_whole_words_and_names_come_first(index: ListingIndex) -> None:
    await index.replace_many(CORPUS)
    found = await names(index, "anna")
    assert found[0] == "Anna Jović"
    assert sorted(found) == ["Anna Jović", "Annabel Stone", "Rhein-Anwälte", "Stone & Partners"]
    assert await names(index, "anna", limit=2) == found[:2]
    assert (await names(index, "rhein"))[0] == "Rhein-Anwälte"


async def test_a_found_listing_says_all_that_it_says(index: ListingIndex) -> None:
    await index.replace_many(CORPUS)
    (found,) = await index.search("o neill")
    listing = CORPUS[-1]
    assert (found.identity, found.name, found.organisation, found.tags, found.languages, found.rank) == (
        listing.identity,
        listing.name,
        listing.organisation,
        ("c++",),
        ("en-IE",),
        1,
    )


async def test_what_looks_like_a_query_is_plain_words(index: ListingIndex) -> None:
    await index.replace_many(CORPUS)
    quote = CORPUS[-1].name
    for words in ('"quote"', "OR near(x", 'neill" OR "anna', "quote*", "NEAR", "quote:", "^quote", "'quote'"):
        assert await names(index, words) in ([quote], []), words
    assert await names(index, 'neill" OR "quote') == [quote]
    for words in ("", " ", '"', "*", "' ; --", "()", "\0", "\ud800", "-", "name:", "+++"):
        assert await names(index, words) == [] or words == "name:"
    assert await names(index, "stone NOT annabel") == []


async def test_the_highest_revision_wins_whatever_the_period(index: ListingIndex) -> None:
    old, new = listed("Old|x", revision=5, period=1), listed("New|x", revision=6, period=2)
    assert await index.replace_many([new]) == 1
    assert await index.replace_many([old]) == 0
    assert (await names(index, "new"), await names(index, "old")) == (["New"], [])
    # Both were had, so that neither is fetched again.
    assert sorted(await index.digests()) == sorted([(old.key, 5), (new.key, 6)])
    assert await index.replace_many([listed("Newer|x", revision=7, period=2), new, old]) == 1
    assert (await names(index, "newer"), await names(index, "old"), await index.count()) == (["Newer"], [], 1)
    assert dict(await index.digests())[new.key] == 7


async def test_one_revision_in_two_periods_ends_with_the_later(index: ListingIndex) -> None:
    await index.replace_many([listed("Later|x", period=2), listed("Earlier|x", period=1)])
    assert await names(index, "later") == ["Later"]
    assert await names(index, "earlier") == []


async def test_what_has_expired_is_found_no_more(index: ListingIndex) -> None:
    await index.replace_many([*CORPUS, listed("Anna Lasting", period=9)])
    assert await index.expire(SOON + 5) == len(CORPUS)
    assert await names(index, "anna") == ["Anna Lasting"]
    assert len(await index.digests()) == await index.count() == 1


async def test_no_more_than_there_is_room_for(database_url: str) -> None:
    async with opened(database_url, most=3) as index:
        assert await index.replace_many([listed(f"Somebody {number}") for number in range(10)]) == 3
        assert await index.count() == 3
        assert len(await index.digests()) <= 6
        kept = (await names(index, "somebody"))[0]
        assert await index.replace_many([listed(f"Else|{kept}", revision=2)]) == 1
        assert await names(index, "else") == ["Else"]


async def test_it_is_there_after_a_restart_and_made_anew_where_the_layout_is_another(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as index:
        await index.replace_many(CORPUS)
    async with opened(database_url) as index:
        assert len(await names(index, "anna")) == 4
    monkeypatch.setattr("relay.contact_cache.listing_keeping.LAYOUT", LAYOUT + 1)
    async with opened(database_url) as index:
        assert await index.count() == 0
        assert await index.replace_many(CORPUS) == len(CORPUS)
        assert len(await names(index, "anna")) == 4


async def test_the_database_of_the_first_layout_is_made_anew(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "l.db")) as other:
        other.executescript(
            "CREATE TABLE listing_layout (version INTEGER PRIMARY KEY); INSERT INTO listing_layout VALUES (1);"
            "CREATE TABLE listings (number INTEGER PRIMARY KEY, identity BLOB UNIQUE);"
            "CREATE VIRTUAL TABLE listing_words USING fts5(name, organisation, tags, languages, prefix='1 2 3');"
            "INSERT INTO listings VALUES (1, x'00'); INSERT INTO listing_words VALUES ('anna', '', '', '')"
        )
    async with opened(f"sqlite:///{tmp_path / 'l.db'}") as index:
        assert (await index.count(), await names(index, "anna")) == (0, [])
        await index.replace_many(CORPUS)
        assert len(await names(index, "anna")) == 4


async def test_a_listing_that_changes_or_goes_leaves_none_of_its_words_behind(tmp_path: Path) -> None:
    """An index that keeps no texts is told what to forget: told wrongly, it would go on finding the number."""
    words = "SELECT count(*) FROM listing_words WHERE listing_words MATCH ?"
    async with opened(f"sqlite:///{tmp_path / 'l.db'}") as index:
        await index.replace_many([*CORPUS, listed("Anna Old|x", "Anna", "anna", "an")])
        assert await index.replace_many([listed("Berta|x", revision=2)]) == 1
        assert await names(index, "old") == []
        assert await index.expire(SOON + 5) == len(CORPUS) + 1
    with closing(sqlite3.connect(tmp_path / "l.db")) as other:
        for mark in "abc":
            assert other.execute(words, [f"{mark}*"]).fetchone() == (0,)


async def test_of_very_common_words_names_come_first_and_ties_stay(
    index: ListingIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.contact_cache.search.MOST_RANKED", 30)
    others = [listed(f"Somebody {number}", "Press", "anna", "en") for number in range(60)]
    await index.replace_many(
        [*others, listed("A Long Name and Annabel"), listed("Anna"), listed("X", "Anna")]
    )
    first = await names(index, "anna", limit=10)
    assert first[:3] == ["Anna", "A Long Name and Annabel", "X"]
    assert len(set(first)) == 10
    assert await names(index, "anna", limit=10) == first
    assert len(await names(index, "anna", limit=1000)) <= MOST_FOUND
    assert await names(index, "anna press", limit=0) == []


async def test_control_characters_are_kept_from_the_screen(index: ListingIndex) -> None:
    bad = Listed(bytes(32), bytes(32), "Bad\x1b[2J\0\nName\u202e", "\ud800", ("a\nb",), ("e\0n",))
    await index.replace_many([bad])
    (found,) = await index.search("bad")
    assert found.name == "Bad [2J  Name "
    assert (found.organisation, found.tags, found.languages) == (" ", ("a b",), ("e n",))


async def test_a_search_goes_on_while_listings_come_in(index: ListingIndex) -> None:
    await index.replace_many(CORPUS)
    many = [listed(f"Somebody {number}") for number in range(1000)]
    coming = asyncio.create_task(index.replace_many(many))
    while not coming.done():
        assert len(await names(index, "anna")) == 4
    assert await coming > 0


async def test_a_database_that_cannot_be_used_is_a_plain_sentence(tmp_path: Path) -> None:
    for url in (
        "nonsense",
        "mysql://x",
        f"sqlite:///{tmp_path}/none/r.db",
        f"postgresql://@/x?host={tmp_path}",
    ):
        with pytest.raises(ConfigurationError, match="search"):
            await ListingIndex.open(url)


async def test_a_failure_does_not_say_what_was_searched_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(f"sqlite:///{tmp_path / 'l.db'}") as index:
        with closing(sqlite3.connect(tmp_path / "l.db")) as other:
            other.execute("DROP TABLE listing_words")
        with pytest.raises(TransportUnavailable) as raised:
            await index.search("needle")
    assert "needle" not in str(raised.value) + caplog.text
    assert raised.value.__suppress_context__


def content(place: Path) -> dict[str, bytes]:
    """All files of a database but the one that only processes share."""
    return {path.name: path.read_bytes() for path in place.iterdir() if not path.name.endswith("-shm")}


async def test_searching_writes_nothing(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'l.db'}") as index:
        await index.replace_many(CORPUS)
        before = content(tmp_path)
        assert len(await index.search("anna needle")) == 0
        assert len(await index.search("anna")) == 4
        after = content(tmp_path)
    assert before == after


# -- both databases, any text --------------------------------------------------------------------------------------

WORDS = (
    "anna",
    "annab",
    "stein",
    "ste",
    "rhein",
    "é",
    "e",
    "记者",
    "12",
    "1e5",
    "a.b@c.org",
    "x-y",
    "-1",
    "straße",
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
PEOPLE = st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=6)
HOSTILE = st.text() | st.text(alphabet="an\"'*():^-&|!<>\\{}:A \0\t\ud800é记", max_size=40)


class Both:
    """An index in each database, and a loop of their own: Hypothesis asks many times within one test."""

    def __init__(self, *urls: str) -> None:
        self._runner = asyncio.Runner()
        self._indices = [self._runner.run(ListingIndex.open(url)) for url in urls]

    def close(self) -> None:
        for index in self._indices:
            self._runner.run(index.close())
        self._runner.close()

    def fill(self, entries: Sequence[Listed]) -> None:
        for index in self._indices:
            self._runner.run(index.expire(2**40))
            assert self._runner.run(index.replace_many(entries)) == len(entries)

    def find(self, words: str) -> list[list[bytes]]:
        """Whom each finds, best first."""
        found = [self._runner.run(index.search(words)) for index in self._indices]
        return [[each.identity for each in one] for one in found]


@pytest.fixture(scope="module")
def both(postgres_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    file = tmp_path_factory.mktemp("both") / "l.db"
    indices = Both(f"sqlite:///{file}", f"postgresql://relay@/postgres?host={postgres_server}")
    try:
        yield indices
    finally:
        indices.fill([])
        indices.close()


def test_no_text_is_an_error(both: Both) -> None:
    both.fill(CORPUS)

    @settings(max_examples=150, deadline=None)
    @given(words=HOSTILE)
    def search(words: str) -> None:
        in_sqlite, in_postgres = both.find(words)
        assert in_sqlite == in_postgres
        assert set(in_sqlite) <= {listing.identity for listing in CORPUS}

    search()


def test_both_find_the_same_in_the_same_order(both: Both) -> None:
    @settings(max_examples=25, deadline=None)
    @given(people=PEOPLE, searches=st.lists(TEXTS | st.text(max_size=6), min_size=1, max_size=6))
    def compare(people: list[tuple[str, str, str, str]], searches: list[str]) -> None:
        both.fill([listed(f"{person[0]}|{number}", *person[1:]) for number, person in enumerate(people)])
        for words in searches:
            in_sqlite, in_postgres = both.find(words)
            assert in_sqlite == in_postgres

    compare()
