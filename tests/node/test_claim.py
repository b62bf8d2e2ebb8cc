"""One process alone on a state directory."""

from pathlib import Path

import pytest

from relay.core import ConfigurationError
from relay.node.claim import claimed


def test_a_second_process_is_sent_away_and_the_first_keeps_its_claim(tmp_path: Path) -> None:
    with claimed(tmp_path):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="stop that one first"), claimed(tmp_path):
                pytest.fail("two have it")


def test_it_is_free_again_after_an_end_of_any_kind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path):
        raise RuntimeError
    with claimed(tmp_path):
        pass
