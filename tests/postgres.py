"""A PostgreSQL server of the tests' own; without the programs the tests that ask for a server fail, and say so."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from bench.postgres import USER, postgres
from relay.core import ConfigurationError

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """The directory of the socket of a running server, at which `relay` may do everything."""
    server = postgres()
    try:
        place = server.__enter__()
    except ConfigurationError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield place
    finally:
        server.__exit__(None, None, None)


@pytest_asyncio.fixture
async def postgres_url(postgres_server: Path) -> AsyncIterator[str]:
    """The URL of an empty database, which goes after the test."""
    name = f"test{next(_numbers)}"
    await _tell(postgres_server, f"CREATE DATABASE {name}")
    yield f"postgresql://{USER}@/{name}?host={postgres_server}"
    await _tell(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


async def _tell(place: Path, statement: str) -> None:
    connection = await asyncpg.connect(host=str(place), user=USER, database="postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
