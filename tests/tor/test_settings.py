"""The table `[tor]` of every role's file."""

from pathlib import Path

import msgspec
import pytest

from relay.core import ConfigurationError, SystemClock, TransportUnavailable, load_configuration
from relay.tor import TorClient, TorSettings


class _Role(msgspec.Struct, forbid_unknown_fields=True):
    tor: TorSettings = TorSettings()


def load(path: Path, text: str) -> TorSettings:
    path.write_text(text)
    return load_configuration(path, _Role).tor


def test_without_a_table_a_tor_of_our_own_on_the_public_network(tmp_path: Path) -> None:
    settings = load(tmp_path / "role.toml", "")
    assert (settings.mode, settings.network_directory, settings.executable) == ("own", "", "tor")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[tor]\nmode = "none"\n', r"line 2.*'tor.mode'"),
        ('[tor]\nproxy = "x"\n', r"line 2: unknown key 'proxy'"),
        ("[tor]\n\ncontrol = 9051\n", r"line 3.*'tor.control'"),
    ],
)
def test_a_wrong_key_is_refused_by_name_and_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path / "role.toml", text)


@pytest.mark.parametrize(
    "control",
    [
        "tor",
        "9051",
        "tor.example.org:9051",
        "localhost:9051",
        "[::1]:9051",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        ":1",
    ],
)
async def test_a_control_port_is_an_address_and_never_a_name(tmp_path: Path, control: str) -> None:
    settings = TorSettings(mode="running", control=control)
    with pytest.raises(ConfigurationError, match=r"^tor\.control: "):
        await TorClient.launch(settings, tmp_path, SystemClock())


@pytest.mark.parametrize("control", ["unix:/nowhere/control", "127.0.0.1:1"])
async def test_no_tor_at_the_control_port(tmp_path: Path, control: str) -> None:
    settings = TorSettings(mode="running", control=control)
    with pytest.raises(TransportUnavailable, match="is Tor running"):
        await TorClient.launch(settings, tmp_path, SystemClock())


async def test_a_network_that_is_not_up(tmp_path: Path) -> None:
    settings = TorSettings(network_directory=str(tmp_path))
    with pytest.raises(ConfigurationError, match="bayonne testnet up"):
        await TorClient.launch(settings, tmp_path / "state", SystemClock())


async def test_a_tor_that_is_not_installed(tmp_path: Path) -> None:
    settings = TorSettings(executable="no-such-tor")
    with pytest.raises(TransportUnavailable, match="'no-such-tor' is not installed"):
        await TorClient.launch(settings, tmp_path / "state", SystemClock())
