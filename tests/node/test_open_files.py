"""The limit of open files is raised, and connections beyond it are not promised."""

import resource
from collections.abc import Iterator

import pytest

from relay.forward_publish import ContactPointLimits
from relay.node import contact_point
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.open_files import RESERVE, room_for


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """The soft limit is what it is on most systems; afterwards as it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one(limits: tuple[int, int]) -> None:
    hard = limits[1]
    assert room_for(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_no_more_connections_than_files(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: None)
    assert room_for(10_000) == 4096 - RESERVE
    assert room_for(3000) == 3000


def test_a_contact_point_takes_as_many_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ContactPointSettings(
        "state", limits=ContactPointLimits(connections=5000, record_connections=100)
    )
    monkeypatch.setattr(contact_point, "room_for", lambda wanted: wanted)
    assert contact_point._within_limits(settings) is settings
    monkeypatch.setattr(contact_point, "room_for", lambda wanted: 1100)
    lowered = contact_point._within_limits(settings)
    assert (lowered.limits.connections, lowered.limits.record_connections) == (1000, 100)
    monkeypatch.setattr(contact_point, "room_for", lambda wanted: 50)
    assert contact_point._within_limits(settings).limits.connections == 1
