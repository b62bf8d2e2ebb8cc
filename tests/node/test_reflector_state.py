"""The state directory: keys that stay, that nobody else reads, and that are never replaced in silence."""

import stat
from pathlib import Path

import pytest

from relay.core import ConfigurationError, SeededEntropy, SystemEntropy
from relay.node.reflector_state import ReflectorState
from relay.tor import OnionKey


def prepared(directory: Path) -> ReflectorState:
    state = ReflectorState(directory)
    state.prepare()
    return state


def test_the_same_keys_at_every_start(tmp_path: Path) -> None:
    first = prepared(tmp_path / "state").keys(SystemEntropy())
    assert prepared(tmp_path / "state").keys(SystemEntropy()) == first
    assert prepared(tmp_path / "other").keys(SystemEntropy()) != first


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o755)
    state = prepared(directory)
    state.keys(SeededEntropy(1))
    state.keep_onion_key(OnionKey("ED25519-V3:secret"))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"reflector.keys": 0o600, "onion.key": 0o600}


def test_the_onions_key_is_kept(tmp_path: Path) -> None:
    state = prepared(tmp_path)
    assert state.onion_key() is None
    state.keep_onion_key(OnionKey("ED25519-V3:secret"))
    assert prepared(tmp_path).onion_key() == OnionKey("ED25519-V3:secret")


def test_the_date_of_the_last_descriptor_is_kept(tmp_path: Path) -> None:
    state = prepared(tmp_path)
    assert state.descriptor_date() == 0
    state.keep_descriptor_date(1_800_000_007)
    assert prepared(tmp_path).descriptor_date() == 1_800_000_007
    (tmp_path / "descriptor.date").write_bytes(b"")
    assert state.descriptor_date() == 0


@pytest.mark.parametrize("content", [b"damaged", b"", b"\x94\x01\xc4\x00\xc4\x00\xc4\x00"])
def test_damaged_keys_are_refused_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reflector.keys").write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        prepared(tmp_path).keys(SystemEntropy())
    assert (tmp_path / "reflector.keys").read_bytes() == content


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="state_directory"):
        prepared(tmp_path / "file" / "state")
