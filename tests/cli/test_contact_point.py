"""`bayonne contact-point`: the sample configuration is good; a wrong one is refused before a start."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.contact_point import command
from relay.core import ConfigurationError, load_configuration
from relay.node.contact_point_settings import ContactPointSettings

SAMPLE = Path(__file__).parents[2] / "ops" / "config" / "contact-point.toml"


def run(path: Path, *options: str) -> object:
    result = CliRunner().invoke(command, ["--config", str(path), *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_sample_is_good_and_shows_the_defaults() -> None:
    assert run(SAMPLE, "--check-config") == "contact-point.toml: ok\n"
    settings = load_configuration(SAMPLE, ContactPointSettings)
    assert settings.limits == ContactPointSettings("x").limits
    assert settings.tor == ContactPointSettings("x").tor


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('state_directory = "x"\n[limits]\nrecordz = 5\n', "line 3: unknown key 'recordz'"),
        ('state_directory = "x"\ntap = "y"\n', "line 2: unknown key 'tap'"),
        ('state_directory = "x"\n[limits]\nburst = 0\n', "limits.burst"),
        ('state_directory = "x"\n[limits]\ntokens_per_flow = 9\n', "limits.tokens_per_flow"),
        ("[limits]\n", "state_directory"),
        ('state_directory = ""\n', "state_directory"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        run(path)
    assert list(tmp_path.iterdir()) == [path]
