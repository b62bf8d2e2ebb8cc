"""The agent's configuration: wrong keys by name and line, wrong values by key."""

import re
from pathlib import Path

import msgspec
import pytest

from relay.agent.settings import (
    DEFAULT_STATE_DIRECTORY,
    AgentSettings,
    ChaffSettings,
    expanded,
    listen_address,
    state_directories_in,
)
from relay.core import ConfigurationError, SeededEntropy, load_configuration
from relay.media_reflector import ReflectorKeys, ReflectorReference, format_maker

SAMPLE = Path(__file__).parents[2] / "ops" / "config" / "agent.toml"
ONION = "a" * 56
REFERENCE = str(ReflectorReference(ONION, ReflectorKeys.generate(SeededEntropy(1)).public_identity))
MAKER = format_maker(bytes(range(32)))
GOOD = AgentSettings("x", contact_points=(ONION,), reflectors=(REFERENCE,))


def test_the_sample_loads_shows_the_defaults_and_asks_for_contact_points() -> None:
    settings = load_configuration(SAMPLE, AgentSettings)
    assert settings == AgentSettings(settings.state_directory)
    assert settings.directory.is_absolute()
    with pytest.raises(ConfigurationError, match="contact_points: at least one is needed"):
        settings.check()
    with pytest.raises(ConfigurationError, match="reflectors: at least one is needed"):
        msgspec.structs.replace(settings, contact_points=(ONION,)).check()


def test_good_settings_pass() -> None:
    GOOD.check()
    msgspec.structs.replace(GOOD, sip_listen="127.1.2.3:1", line_address="192.0.2.1").check()
    lists = {"reflectors": (), "reflector_lists": ("friends.txt",), "list_makers": (MAKER,)}
    msgspec.structs.replace(GOOD, **lists).check()


def test_a_list_needs_a_maker_whom_the_owner_accepts() -> None:
    with pytest.raises(ConfigurationError, match=r"^list_makers: needed with reflector_lists"):
        msgspec.structs.replace(GOOD, reflector_lists=("friends.txt",)).check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('state_directory = "x"\n\ncontact_point = []\n', "agent.toml: line 3: unknown key 'contact_point'"),
        (
            'state_directory = "x"\n[chaff]\nstart_dely = 1.0\n',
            "agent.toml: line 3: unknown key 'start_dely'",
        ),
        ('state_directory = "x"\n[tor]\nmode = "none"\n', "line 3"),
        ('state_directory = "x"\nname = 5\n', "line 2.*name"),
        ('state_directory = "x"\nreflectors = "one"\n', "line 2.*reflectors"),
        ('state_directory = "x"\n[chaff]\nstart_delay = "long"\n', "line 3.*chaff.start_delay"),
        ('name = "x"\n', "state_directory"),
        ("= 5\n", "not TOML"),
    ],
)
def test_a_wrong_key_or_type_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(path, AgentSettings)
    assert re.search(message, str(raised.value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contact_points", ("a" * 55,)),
        ("contact_points", ("a" * 56 + ".onion",)),
        ("contact_points", (ONION, "sip:evil")),
        ("reflectors", ("bayonne-reflector:x/y",)),
        ("reflectors", (REFERENCE, REFERENCE[:-1])),
        ("list_makers", (MAKER, MAKER[:-1])),
        ("list_makers", (REFERENCE,)),
        ("sip_listen", "0.0.0.0:5060"),
        ("sip_listen", "192.0.2.1:5060"),
        ("sip_listen", "localhost:5060"),
        ("sip_listen", "127.0.0.1"),
        ("sip_listen", "127.0.0.1:70000"),
        ("sip_listen", ""),
        ("sip_listen", "127.0.0.1:\u00b2"),
        ("sip_listen", "127.0.0.1:" + "1" * 5000),
        ("line_address", "eth0"),
        ("ring_seconds", 31.0),
        ("ring_seconds", 0.0),
        ("name", ""),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{key}: "):
        msgspec.structs.replace(GOOD, **{key: value}).check()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start_delay", -1.0),
        ("start_delay", 4000.0),
        ("staggered_teardown", float("nan")),
        ("dummy_interval", 1.0),
    ],
)
def test_wrong_chaff_is_refused_by_its_key(key: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"^chaff\.{key}: "):
        msgspec.structs.replace(GOOD, chaff=ChaffSettings(**{key: value})).check()


def test_listen_addresses() -> None:
    assert listen_address("127.0.0.1:5060") == ("127.0.0.1", 5060)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'state_directory = "~/x"\n', ("~/x",)),
        (b"state_directory = '/a b'  # here\ncolour = 7\n", ("/a b",)),
        (b'\xef\xbb\xbfstate_directory = "x"\n', ("x",)),
        (b'= 7\n  "state_directory"="x"\n[vault\n', ("x",)),
        (b'# \xff\nstate_directory = "x"\n', ("x",)),
        (b'state_directory = "x"\nstate_directory = "y"\n', ("x", "y")),
        (b'state_directory = "x\n', ()),
        (b"state_directory = 5\n", ()),
        (b'state_directory = "\\u0000"\n', ()),
        (b'# state_directory = "x"\n', ()),
        (b'[other]\nstate_directory = "x"\n', ()),
        (b"", ()),
        (bytes(range(256)), ()),
    ],
)
def test_where_the_state_is_can_be_read_of_a_file_that_is_wrong_otherwise(
    content: bytes, said: tuple[str, ...]
) -> None:
    assert state_directories_in(content) == said


def test_a_home_that_nobody_knows_stands_as_it_is() -> None:
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert load_configuration(SAMPLE, AgentSettings).state_directory == DEFAULT_STATE_DIRECTORY
