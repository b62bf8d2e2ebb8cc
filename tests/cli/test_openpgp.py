"""`bayonne openpgp`: whose key signs is kept with the contacts, and stands nowhere in the clear."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.agent.vault_directory import VaultDirectory
from relay.cli import openpgp
from relay.core import BayonneError, MisuseError
from tests.agent.vaults import CHEAP, PASSPHRASE, everything_in, new_vault
from tests.cli.test_contact import book_of, configuration
from tests.cli.test_vault import descriptor

KEY = "AB" * 20


@pytest.fixture(autouse=True)
def _own_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    monkeypatch.setattr(VaultDirectory.__init__, "__defaults__", (CHEAP,))


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return configuration(tmp_path, "alice")


def call(path: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(openpgp.command, [*arguments, "--config", str(path)], input=typed)


def test_a_key_is_named_shown_and_given_up(alice: Path) -> None:
    assert call(alice, "show").stdout == "calls are not signed\n"
    result = call(alice, "use", typed=" ".join(("abab",) * 10) + "\n")
    assert result.exception is None
    assert result.stdout == f"calls are signed by {KEY}\n"
    assert "not in your GnuPG keyring" in result.stderr
    assert book_of(alice).openpgp == KEY
    assert json.loads(call(alice, "show", "--json").stdout) == {"key": KEY}
    assert json.loads(call(alice, "off", "--json").stdout) == {"key": ""}
    assert book_of(alice).openpgp == ""


@pytest.mark.parametrize("typed", ["", "ABCD1234", "Alice <alice@example.org>"])
def test_what_names_no_key_is_refused(alice: Path, typed: str) -> None:
    error = call(alice, "use", typed=typed).exception
    assert isinstance(error, BayonneError)
    assert isinstance(error, MisuseError)
    assert book_of(alice).openpgp == ""


def test_whoever_has_the_disk_does_not_read_whose_key_it_is(alice: Path, tmp_path: Path) -> None:
    alice.write_text(alice.read_text().replace("sealed = false", "sealed = true"))
    new_vault(tmp_path / "alice")
    number = str(descriptor(PASSPHRASE.decode()))
    assert call(alice, "use", "--passphrase-fd", number, typed=KEY).exception is None
    found = everything_in(tmp_path)
    for spelled in (KEY, KEY.lower(), "openpgp"):
        assert spelled.encode() not in found
    number = str(descriptor(PASSPHRASE.decode()))
    assert KEY in call(alice, "show", "--passphrase-fd", number).stdout
