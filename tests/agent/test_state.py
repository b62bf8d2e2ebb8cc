"""The state directory: private, for one agent alone."""

from pathlib import Path

import pytest

from relay.agent.state import StateDirectory
from relay.core import ConfigurationError


def test_a_second_agent_is_refused_with_one_clear_sentence_until_the_first_ends(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path / "deep" / "state")
    first.claim()
    second = StateDirectory(first.path)
    with pytest.raises(ConfigurationError, match="another agent is running on it; stop that one first"):
        second.claim()
    first.release()
    second.claim()
    second.release()
