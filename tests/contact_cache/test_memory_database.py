"""Listings in memory alone: searched as on a disk, had whole and put back, and nowhere else."""

from pathlib import Path

import pytest

from relay.contact_cache.search import ListingIndex, MemoryIndex
from relay.core import TransportUnavailable
from tests.contact_cache.test_search import CORPUS, names


async def test_what_was_had_whole_is_searched_again_and_grows_on() -> None:
    first = await MemoryIndex.load()
    assert await first.replace_many(CORPUS) == len(CORPUS)
    image = await first.image()
    await first.close()
    again = await MemoryIndex.load(image)
    try:
        assert await again.count() == len(CORPUS)
        assert await names(again, "jovic ANNA") == ["Anna Jović"]
        assert await again.replace_many(CORPUS) == 0
        assert await again.expire(2_000_000_000) == len(CORPUS)
        assert await names(again, "anna") == []
    finally:
        await again.close()


async def test_what_is_no_image_is_as_good_as_none(tmp_path: Path) -> None:
    on_disk = await ListingIndex.open(f"sqlite:///{tmp_path / 'l.db'}")
    await on_disk.replace_many(CORPUS)
    await on_disk.close()
    for image in (b"", b"x", bytes(4096), b"no database at all " * 1000, (tmp_path / "l.db").read_bytes()):
        index = await MemoryIndex.load(image)
        try:
            assert await index.count() in (0, len(CORPUS))
            assert await index.replace_many(CORPUS) in (0, len(CORPUS))
            assert await names(index, "jovic") == ["Anna Jović"]
        finally:
            await index.close()


async def test_a_failure_is_one_error_of_the_family() -> None:
    index = await MemoryIndex.load()
    await index.replace_many(CORPUS)
    try:
        with pytest.raises(TransportUnavailable, match="database of listings"):
            await index._memory.write(lambda connection: connection.exec_driver_sql("SELECT nothing"))
        assert await index.count() == len(CORPUS)
    finally:
        await index.close()
