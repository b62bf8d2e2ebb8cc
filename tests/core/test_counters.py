"""Counters: a closed set of names, so that nothing a peer sends can make it grow."""

import pytest

from relay.core import Counters, MisuseError


def test_counts_add_up() -> None:
    counters = Counters(["truncated", "replayed"])
    counters.count("truncated")
    counters.count("truncated", 2)
    assert counters["truncated"] == 3
    assert counters.snapshot() == {"truncated": 3, "replayed": 0}


def test_a_snapshot_is_a_copy() -> None:
    counters = Counters(["truncated"])
    before = counters.snapshot()
    counters.count("truncated")
    assert before == {"truncated": 0}


def test_an_undeclared_name_is_a_bug_and_is_not_repeated() -> None:
    counters = Counters(["truncated"])
    with pytest.raises(MisuseError) as caught:
        counters.count("198.51.100.7")
    assert "198" not in str(caught.value)
    assert set(counters.snapshot()) == {"truncated"}
