"""The files that the demo writes are read by the roles' own schemas, and say what was meant."""

from pathlib import Path

from relay.agent import AgentSettings
from relay.core import load_configuration
from relay.lab.demo import configuration
from relay.node.contact_point_settings import ContactPointSettings
from relay.node.reflector_settings import ReflectorSettings

ONION = "a" * 56


def test_the_roles_take_them(tmp_path: Path) -> None:
    network = tmp_path / 'net "quoted" \\ ü'
    point = load_configuration(configuration.contact_point(tmp_path, network), ContactPointSettings)
    assert point.tor.network_directory == str(network)
    file = configuration.reflector(tmp_path, network, "r", listen="127.0.0.1:1", advertise="127.0.20.1:2")
    reflector = load_configuration(file, ReflectorSettings)
    assert (reflector.udp_listen, reflector.udp_advertise) == ("127.0.0.1:1", "127.0.20.1:2")
    file = configuration.agent(
        tmp_path,
        network,
        "alice",
        sip_listen="127.0.0.1:5060",
        line_address="127.0.10.1",
        contact_point=ONION,
        reflectors=[f"bayonne-reflector:{'a' * 56}/{'a' * 52}"],
        start_delay=5.0,
        staggered_teardown=15.0,
    )
    agent = load_configuration(file, AgentSettings)
    agent.check()
    assert (agent.name, agent.line_address, agent.contact_points) == ("alice", "127.0.10.1", (ONION,))
    assert (agent.chaff.start_delay, agent.chaff.staggered_teardown) == (5.0, 15.0)
