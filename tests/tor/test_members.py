"""What stands in the torrc of a private network's members."""

from pathlib import Path

from relay.core import SystemClock
from relay.tor.members import LoopbackExit, Member, relay_options
from relay.tor.process import TorProcess


def member(place: Path) -> Member:
    return Member("relay1", "127.0.2.1", 5000, TorProcess(place / "relay1", "tor", SystemClock()))


def test_a_relay_is_no_exit_unless_told(place: Path) -> None:
    options = relay_options(member(place))
    assert "ExitRelay 0" in options
    assert "ExitPolicy reject *:*" in options


def test_an_exit_is_bound_to_loopback_and_asks_one_nameserver(place: Path) -> None:
    relay = member(place)
    relay.process.directory.mkdir()
    exits = LoopbackExit(("127.0.0.1", 5353))
    exits.prepare(relay)
    options = relay_options(relay, exits)
    assert "ExitRelay 0" not in options
    assert "OutboundBindAddress 127.0.2.1" in options
    (file,) = [line.split()[1] for line in options if line.startswith("ServerDNSResolvConfFile")]
    assert Path(file).read_text() == "nameserver 127.0.0.1:5353\n"
