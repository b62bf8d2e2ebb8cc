"""A reflector's configuration: what can work, what cannot, what changes at run time."""

import os
from pathlib import Path

import msgspec
import pytest

from relay.core import ConfigurationError, SeededEntropy, load_configuration
from relay.media_reflector import ReflectorKeys, ReflectorReference
from relay.node.reflector_settings import AT_RUN_TIME, ReflectorSettings, TrunkSettings, taken_over

SAMPLE = Path(__file__).parents[2] / "ops" / "config" / "reflector.toml"


def reference(seed: int) -> ReflectorReference:
    return ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(seed)).public_identity)


ONE, OTHER = str(reference(1)), str(reference(2))


def settings(**changes: object) -> ReflectorSettings:
    values: dict[str, object] = {"state_directory": "x"} | changes
    return msgspec.convert(values, ReflectorSettings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"state_directory": ""}, "state_directory"),
        ({"udp_listen": ""}, "udp_listen"),
        ({"udp_listen": []}, "udp_listen"),
        ({"udp_listen": "reflector.example:7210"}, "udp_listen"),
        ({"udp_listen": "127.0.0.1"}, "udp_listen"),
        ({"udp_listen": "127.0.0.1:65536"}, "udp_listen"),
        ({"udp_listen": "127.0.0.1:-1"}, "udp_listen"),
        ({"udp_listen": "127.0.0.1:²"}, "udp_listen"),
        ({"udp_listen": ["127.0.0.1:1", "127.0.0.2:1"]}, "udp_listen: one address, or one of IPv4"),
        ({"udp_listen": ["127.0.0.1:1", "[::1]:1", "[::2]:1"]}, "udp_listen"),
        ({"udp_listen": "0.0.0.0:7210"}, "udp_advertise: needed"),
        ({"udp_listen": ["127.0.0.1:1", "[::]:1"]}, "udp_advertise: needed"),
        ({"udp_advertise": "127.0.0.1:0"}, "udp_advertise"),
        ({"udp_advertise": "127.0.0.1:" + "1" * 5000}, "udp_advertise"),
        ({"udp_advertise": "name:7210"}, "udp_advertise"),
        ({"udp_advertise": "0.0.0.0:7210"}, "udp_advertise"),
        ({"udp_advertise": "224.0.0.1:7210"}, "udp_advertise"),
        ({"udp_advertise": "[2001:db8::1]:7210"}, "udp_advertise: nothing listens on IPv6"),
        ({"capacity": 1}, "capacity"),
        ({"capacity": 10_000_000}, "capacity"),
        ({"workers": -1}, "workers"),
        ({"workers": 65}, "workers"),
        ({"drain_limit": -1.0}, "drain_limit"),
        ({"drain_limit": float("nan")}, "drain_limit"),
        ({"drain_limit": float("inf")}, "drain_limit"),
        ({"backup": "somebody"}, "backup"),
        ({"backup": ONE[:-1]}, "backup"),
        ({"peers": [ONE, "somebody"]}, "peers"),
        ({"contact_points": ["a" * 55]}, "contact_points: an onion name"),
        ({"contact_points": ["a" * 56 + ".onion"]}, "contact_points: an onion name"),
        ({"contact_points": ["a" * 56, "a" * 56]}, "contact_points: .* twice"),
        ({"contact_points": [letter * 56 for letter in "abcdefghijklmnopq"]}, "contact_points: at most"),
        ({"trunks": [{"reference": "somebody", "slots": 3}]}, "trunks"),
        ({"trunks": [{"reference": ONE, "slots": 0}]}, "trunks.slots"),
        ({"trunks": [{"reference": ONE, "slots": 5001}]}, "trunks.slots"),
        ({"trunks": [{"reference": ONE, "slots": 3}, {"reference": ONE, "slots": 4}]}, "same reflector"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        settings(**changes).check()


def test_one_address_or_one_of_each_kind() -> None:
    only_v6 = settings(udp_listen="[::1]:7210")
    only_v6.check()
    assert only_v6.listens == [("::1", 7210)]
    both = settings(
        udp_listen=["0.0.0.0:7210", "[::]:7211"], udp_advertise=["192.0.2.1:1", "[2001:db8::1]:2"]
    )
    both.check()
    assert both.listens == [("0.0.0.0", 7210), ("::", 7211)]
    assert both.advertised == [("192.0.2.1", 1), ("2001:db8::1", 2)]
    one_advertised = settings(udp_listen=["0.0.0.0:7210", "[::]:7211"], udp_advertise="192.0.2.1:1")
    one_advertised.check()
    assert settings().advertised == []


def test_the_environment_gives_both_between_commas(tmp_path: Path) -> None:
    path = tmp_path / "reflector.toml"
    path.write_text('state_directory = "x"\n')
    environment = {"BAYONNE_UDP_LISTEN": "127.0.0.1:1, [::1]:2", "BAYONNE_PEERS": f"{ONE},{OTHER}"}
    read = load_configuration(path, ReflectorSettings, environment=environment)
    read.check()
    assert read.listens == [("127.0.0.1", 1), ("::1", 2)]
    assert len(read.peer_identities) == 2


def test_a_value_that_is_no_choice_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "reflector.toml"
    text = f'state_directory = "x"\n[[trunks]]\nreference = "{ONE}"\nslots = 3\n[[trunks]]\nslot = 4\n'
    for wrong, message in (
        ('state_directory = "x"\ndata_plane = "fast"\n', "line 2: .*data_plane"),
        ('state_directory = "x"\nlog_level = "loud"\n', "line 2: .*log_level"),
        (text, "line 6: unknown key 'slot'"),
        (text.replace("slot =", "slots = 4.5 #"), r"line 6: .*trunks\.slots"),
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match=message):
            load_configuration(path, ReflectorSettings)


def test_references_are_read() -> None:
    read = settings(backup=OTHER, peers=[ONE], trunks=[{"reference": OTHER, "slots": 7}])
    read.check()
    assert read.backup_reference == reference(2)
    assert read.trunk_references == [(reference(2), 7)]
    assert read.peer_identities == {reference(1).identity, reference(2).identity}
    assert settings().backup_reference is None
    assert settings().peer_identities == frozenset()


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(0, 1, 1), (0, 2, 2), (0, 64, 4), (7, 2, 7), (0, 0, 1)]
)
def test_one_worker_for_each_core_up_to_four(workers: int, cores: int, threads: int) -> None:
    assert settings(workers=workers).worker_count(cores) == threads


def test_what_changes_at_run_time_and_what_waits() -> None:
    running = settings(capacity=10, workers=1)
    read = settings(
        capacity=20, workers=2, udp_listen="127.0.0.1:9", peers=[ONE], log_level="error", data_plane="plain"
    )
    now, changed, waiting = taken_over(running, read)
    assert set(changed) == {"capacity", "peers", "log_level"}
    assert set(waiting) == {"workers", "udp_listen", "data_plane"}
    assert now == settings(capacity=20, workers=1, peers=[ONE], log_level="error")
    assert taken_over(now, read)[1] == []
    assert set(taken_over(now, read)[2]) == {"workers", "udp_listen", "data_plane"}, "until it is restarted"


def test_the_same_again_changes_nothing() -> None:
    assert taken_over(settings(), settings()) == (settings(), [], [])


def test_a_new_key_has_to_be_said_to_change_at_run_time_or_not() -> None:
    at_start = {"state_directory", "udp_listen", "workers", "data_plane", "tor"}
    assert at_start | set(AT_RUN_TIME) == set(ReflectorSettings.__struct_fields__)
    assert not at_start & set(AT_RUN_TIME)


def test_the_sample_is_good_names_every_key_and_shows_the_defaults() -> None:
    read = load_configuration(SAMPLE, ReflectorSettings)
    read.check()
    text = SAMPLE.read_text()
    for name in (*ReflectorSettings.__struct_fields__, *TrunkSettings.__struct_fields__):
        assert f"\n{name} = " in text or f"\n# {name} = " in text or f"[{name}]" in text, name
    shown = {"state_directory", "udp_listen", "udp_advertise"}
    for name in set(ReflectorSettings.__struct_fields__) - shown:
        assert getattr(read, name) == getattr(settings(), name), name


def test_the_samples_and_the_documents_words_on_run_time_are_true() -> None:
    paragraph = SAMPLE.read_text().partition("It takes these keys at once:")[2].partition(".")[0]
    assert set(paragraph.replace("#", "").replace(os.linesep, "").replace(" ", "").split(",")) == set(
        AT_RUN_TIME
    )
