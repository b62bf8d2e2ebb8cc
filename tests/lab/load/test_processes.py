"""What the operating system says of a process."""

import mmap
import os
import time

import pytest

from relay.core import TransportUnavailable
from relay.lab.load.processes import Cores, available_bytes, cpu_seconds, resident_bytes


def test_cpu_time_is_that_of_the_process() -> None:
    before, began = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - began < 0.05:
        pass
    spent = cpu_seconds(os.getpid()) - before
    # Other threads of this process may have worked meanwhile, and a running one is counted up to its last tick.
    assert 0.03 < spent < 1


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(TransportUnavailable):
        cpu_seconds(2**22 + 1)


def test_memory_grows_with_what_is_used() -> None:
    before = resident_bytes(os.getpid())
    # Straight from the system: the allocator may have room left from tests before.
    with mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * len(held))
        assert resident_bytes(os.getpid()) - before > 8 << 20
        assert len(held) < available_bytes()


def test_cores_are_divided_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert Cores.split(1) == Cores(frozenset({0}), frozenset({1, 2, 3}))
    assert not Cores.split(3).shared
    assert Cores.split(4).shared
