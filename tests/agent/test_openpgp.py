"""Two people with GnuPG: what one signs the other checks, in keyrings of their own, and nobody else is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.agent import openpgp
from relay.agent.openpgp import MOST_SIGNATURE, GnuPG, OpenPgpSettings
from relay.agent.openpgp_status import Signature
from relay.core import MisuseError, RefusedByPolicy, TransportUnavailable
from tests.agent.keyring import Keyring

SAID = b"Bayonne voice session\n" + b"0" * 64 + b"\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keyring, Keyring]]:
    # A short path: GnuPG's agent listens on a socket in it.
    rings = tuple(Keyring.make(tmp_path_factory.mktemp("g")) for _ in range(2))
    try:
        yield rings[0], rings[1]
    finally:
        for ring in rings:
            ring.end()


@pytest.fixture(scope="module")
def alices_key(people: tuple[Keyring, Keyring]) -> str:
    alice, bob = people
    key = alice.new_key("Alice <alice@example.org>")
    bob.learn(alice, key)
    return key


async def test_what_one_signs_the_other_checks(people: tuple[Keyring, Keyring], alices_key: str) -> None:
    alice, bob = people
    signature = await alice.program(alices_key).sign(SAID)
    assert len(signature) < 200
    assert SAID[22:80] not in signature
    check = bob.program().check
    assert await check(SAID, signature, alices_key) is Signature.GOOD
    assert await check(SAID.replace(b"0", b"1"), signature, alices_key) is Signature.BAD
    assert await check(SAID, signature, "F" * 40) is Signature.OTHER_KEY
    damaged = signature[:-4] + bytes(4)
    assert await check(SAID, damaged, alices_key) in (Signature.BAD, Signature.UNCHECKED)
    for garbage in (b"\x00", b"-----BEGIN PGP SIGNATURE-----", b"\xff" * MOST_SIGNATURE):
        assert await check(SAID, garbage, alices_key) in (Signature.BAD, Signature.UNCHECKED)
    assert await check(SAID, signature + signature, alices_key) is not Signature.GOOD, "one, and no pile"


async def test_a_signature_that_brings_its_own_text_vouches_for_nothing(
    people: tuple[Keyring, Keyring], alices_key: str
) -> None:
    alice, bob = people
    whole = alice.gpg("--local-user", alices_key, "--sign", said=b"some other text")
    assert await bob.program().check(SAID, whole, alices_key) is not Signature.GOOD


async def test_a_key_that_is_not_in_the_keyring_is_another_key(
    people: tuple[Keyring, Keyring], alices_key: str
) -> None:
    alice, bob = people
    stranger = alice.new_key("Mallory <mallory@example.org>")
    signature = await alice.program(stranger).sign(SAID)
    assert await bob.program().check(SAID, signature, alices_key) is Signature.OTHER_KEY
    assert await bob.program().check(SAID, signature, stranger) is Signature.OTHER_KEY
    assert await bob.program().knows(alices_key)
    assert not await bob.program().knows(stranger)
    bob.learn(alice, stranger)
    assert await bob.program().check(SAID, signature, stranger) is Signature.GOOD
    assert await bob.program().check(SAID, signature, alices_key) is Signature.OTHER_KEY


async def test_a_revoked_key_does_not_count(people: tuple[Keyring, Keyring]) -> None:
    alice, bob = people
    key = alice.new_key("Old Alice <old@example.org>")
    signature = await alice.program(key).sign(SAID)
    bob.learn(alice, key)
    assert await bob.program().check(SAID, signature, key) is Signature.GOOD
    revocation = (alice.home / "openpgp-revocs.d" / f"{key}.rev").read_bytes()
    bob.gpg("--import", said=revocation[revocation.index(b":-----BEGIN") + 1 :])
    assert await bob.program().check(SAID, signature, key) is Signature.OTHER_KEY


async def test_no_key_is_one_sentence(people: tuple[Keyring, Keyring]) -> None:
    with pytest.raises(RefusedByPolicy, match="did not sign"):
        await people[1].program("E" * 40).sign(SAID)


async def test_whoever_does_not_answer_is_not_waited_for(
    people: tuple[Keyring, Keyring], alices_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "gpg"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    program = GnuPG(OpenPgpSettings(str(people[0].home)), lambda: alices_key, str(slow))
    monkeypatch.setattr(openpgp, "SIGN_SECONDS", 0.3)
    monkeypatch.setattr(openpgp, "CHECK_SECONDS", 0.3)
    with pytest.raises(TransportUnavailable, match="did not answer in time"):
        await program.sign(SAID)
    assert await program.check(SAID, b"x", alices_key) is Signature.UNCHECKED


async def test_without_gnupg_it_is_said(alices_key: str) -> None:
    missing = GnuPG(OpenPgpSettings(), lambda: alices_key, "/nonexistent/gpg")
    with pytest.raises(TransportUnavailable, match="'gpg' is not installed"):
        await missing.sign(SAID)
    assert await missing.check(SAID, b"x", alices_key) is Signature.UNCHECKED


async def test_nobody_is_asked_for_keys_and_nothing_is_written(
    people: tuple[Keyring, Keyring], alices_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the user's configuration has key servers asked: the question would go around Tor."""
    alice, bob = people
    asked, asker = tmp_path / "asked", tmp_path / "dirmngr"
    asker.write_text(f"#!/bin/sh\ntouch {asked}\n")
    asker.chmod(0o700)
    configuration = bob.home / "gpg.conf"
    configuration.write_text(f"auto-key-retrieve\nkeyserver hkp://127.0.0.1:1\ndirmngr-program {asker}\n")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    unknown = alice.new_key("Unknown <unknown@example.org>")
    signature = await alice.program(unknown).sign(SAID)
    before = sorted(path.name for path in bob.home.iterdir())
    assert await bob.program().check(SAID, signature, unknown) is Signature.OTHER_KEY
    assert not asked.exists()
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in bob.home.iterdir()) == before
    # As GnuPG would have done by itself.
    signed = tmp_path / "signature"
    signed.write_bytes(signature)
    bob.verify_until(SAID, signed, asked)
    assert asked.exists()
    configuration.unlink()


@pytest.mark.parametrize("key", ["", "ABCD", "Alice"])
async def test_without_a_key_nothing_is_signed(key: str) -> None:
    with pytest.raises(MisuseError, match="a fingerprint has 40"):
        await GnuPG(OpenPgpSettings(), lambda: key).sign(SAID)
