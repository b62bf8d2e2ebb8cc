"""Identity and password: made once, kept for good, never made anew because a file is damaged."""

from pathlib import Path

import pytest

from relay.agent.credentials import own_identity, own_softphone
from relay.agent.kept import PlainFiles
from relay.core import ConfigurationError, SeededEntropy


@pytest.fixture
def state(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path / "state")


def test_identity_and_password_stay(state: PlainFiles) -> None:
    first = own_identity(state, SeededEntropy(1)), own_softphone(state, "me", SeededEntropy(1))
    again = own_identity(state, SeededEntropy(2)), own_softphone(state, "me", SeededEntropy(2))
    assert again == first
    assert len(first[1].password) == 20
    other = own_softphone(state, "you", SeededEntropy(3))
    assert other.user == "you"
    assert other.password != first[1].password


@pytest.mark.parametrize(
    "content", [b"", b"short", b"{}", b"\xff\xfe", b'{"user": 5}', b'{"use\xff": 5}', bytes(33)]
)
def test_damaged_files_are_named_in_one_sentence(state: PlainFiles, content: bytes) -> None:
    state.write("identity.key", content)
    state.write("softphone.json", content)
    with pytest.raises(ConfigurationError, match=r"identity.key in the state directory is damaged"):
        own_identity(state, SeededEntropy(1))
    with pytest.raises(ConfigurationError, match=r"softphone.json in the state directory is damaged"):
        own_softphone(state, "me", SeededEntropy(1))
    assert state.read("identity.key") == content, "and left for its owner to look at"
