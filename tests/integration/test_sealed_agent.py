"""A real `bayonne agent`, sealed: what stands on its disk while it runs, is locked, was killed, was wiped; and one that
has everything in memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.agent import ContactBook
from relay.agent.amnesia import amnesic_directory
from relay.agent.credentials import own_identity
from relay.agent.kept import Kept, PlainFiles
from relay.agent.vault_directory import VaultDirectory
from relay.core import Child, SeededEntropy, SystemEntropy, spawn
from relay.media_reflector import ReflectorKeys, ReflectorReference
from tests.agent.vaults import everything_in

pytestmark = pytest.mark.timeout(180)

PASSPHRASE = "correct horse battery staple"
FRIEND = "bob-at-the-harbour"
REFERENCE = ReflectorReference("a" * 56, ReflectorKeys.generate(SeededEntropy(1)).public_identity)
PATIENCE = 60.0


class Owner:
    """One person's machine: `place` is all of its disk that an agent could write to."""

    def __init__(self, place: Path, network: Path, port: int, *, sealed: bool = True) -> None:
        self.place = place
        self.state = place / "state"
        self.config = place / "agent.toml"
        place.mkdir()
        self.config.write_text(
            f'state_directory = "{self.state}"\nsip_listen = "127.0.0.1:{port}"\n'
            f'contact_points = ["{"a" * 56}"]\nreflectors = ["{REFERENCE}"]\n'
            f'[tor]\nnetwork_directory = "{network}"\n[vault]\nsealed = {str(sealed).lower()}\n'
        )
        self.environment = {**os.environ, "HOME": str(place), "TMPDIR": str(place)}
        self.output = place.with_suffix(".events")
        self.child: Child | None = None

    def start(self, *options: str, typed: bool = True) -> None:
        reading, writing = os.pipe()
        os.write(writing, f"{PASSPHRASE}\n".encode())
        os.close(writing)
        given = ("--passphrase-fd", str(reading)) if typed else ()
        arguments = [
            sys.executable,
            "-m",
            "relay.cli",
            "agent",
            "--config",
            str(self.config),
            "--json",
            *options,
        ]
        with self.output.open("wb") as out, self.output.with_suffix(".log").open("ab") as log:
            self.child = spawn(
                [*arguments, *given],
                environment=self.environment,
                stdout=out,
                stderr=log,
                keep=(reading,),
            )
        os.close(reading)
        self.until(lambda: "reflectors" in (event.get("stage") for event in self.events()))

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.child is not None
            waits = self.child.poll() is None and time.monotonic() < deadline
            assert waits, self.output.with_suffix(".log").read_text()[-2000:]
            time.sleep(0.1)

    def bayonne(self, *arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        given = ["--passphrase-fd", "0"] if typed else []
        line = [sys.executable, "-m", "relay.cli", *arguments, "--config", str(self.config), *given]
        return subprocess.run(
            line,
            input=typed,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            start_new_session=True,
        )

    def does(self, *arguments: str, typed: str = "") -> str:
        done = self.bayonne(*arguments, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.child is not None
        self.child.send_signal(how)
        return self.child.wait(30)

    def secrets(self, kept: Kept) -> dict[str, bytes]:
        """What nobody may find who has this machine's disk."""
        book = ContactBook(kept)
        book.refresh()
        (invitation,) = book.invitations
        identity = own_identity(kept, SystemEntropy())
        return {
            "contact": FRIEND.encode(),
            "address": identity.address.encode(),
            "public key": identity.public_key,
            "seed": identity.seed,
            "invitation": invitation.secret,
            "token": invitation.token_root,
        }

    def found(self, secrets: dict[str, bytes]) -> list[str]:
        everything = everything_in(self.place)
        return [what for what, secret in secrets.items() if secret in everything]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_on_the_disk_of_a_sealed_agent_tells_who_it_is_or_whom_it_knows(
    private_network: Path, tmp_path: Path
) -> None:
    owner = Owner(tmp_path / "sealed", private_network, free_port())
    try:
        owner.start()
        # By the key of the agent: nobody is asked for anything.
        assert owner.does("contact", "invite", FRIEND).startswith("bayonne:")
        kept = VaultDirectory(owner.state, SystemEntropy()).unlock(bytearray(PASSPHRASE.encode()))
        secrets = owner.secrets(kept)
        assert owner.found(secrets) == [], "while it runs"
        owner.does("vault", "lock")
        assert json.loads(owner.does("vault", "status", "--json"))["agent"] == "locked"
        assert "there is no terminal" in owner.bayonne("contact", "list").stderr
        assert owner.found(secrets) == [], "while it is locked"
        wrong = owner.bayonne("vault", "unlock", typed="another good passphrase\n")
        assert wrong.stderr == "bayonne: that is not the passphrase of this vault\n"
        owner.does("vault", "unlock", typed=f"{PASSPHRASE}\n")
        owner.until(lambda: [event.get("stage") for event in owner.events()].count("reflectors") == 2)
        assert FRIEND in owner.does("contact", "invitations")
        owner.end(signal.SIGKILL)
        assert owner.found(secrets) == [], "after it was killed"
        owner.start()
        assert FRIEND in owner.does("contact", "invitations")
        before = time.monotonic()
        told = json.loads(owner.does("vault", "wipe", "--yes", "--json"))
        assert (told["state"], told["agents_ended"], told["troubles"]) == ("wiped", 1, [])
        assert time.monotonic() - before < 20.0
        assert owner.child is not None
        assert owner.child.wait(10) == 0
        assert not list(owner.place.iterdir()), "nor what it was told of contact points and reflectors"
    finally:
        owner.end(signal.SIGKILL)


def test_in_the_clear_the_same_search_finds_everything(private_network: Path, tmp_path: Path) -> None:
    owner = Owner(tmp_path / "clear", private_network, free_port(), sealed=False)
    try:
        owner.start(typed=False)
        owner.does("contact", "invite", FRIEND)
        assert {"contact", "seed"} <= set(owner.found(owner.secrets(PlainFiles(owner.state))))
    finally:
        owner.end()


def test_an_amnesic_agent_was_never_there(private_network: Path, tmp_path: Path) -> None:
    owner = Owner(tmp_path / "amnesic", private_network, free_port())
    before = everything_in(owner.place)
    memory = amnesic_directory(owner.state)
    try:
        owner.start("--amnesic", typed=False)
        assert owner.does("contact", "invite", FRIEND).startswith("bayonne:")
        assert FRIEND in owner.does("contact", "invitations")
        assert json.loads(owner.does("agent", "--softphone", "--json"))["password"]
        assert json.loads(owner.does("vault", "status", "--json"))["agent"] == "amnesic"
        assert FRIEND.encode() not in everything_in(memory), "sealed even there"
        assert everything_in(owner.place) == before
        assert owner.end() == 0
        assert not memory.exists()
        assert everything_in(owner.place) == before
    finally:
        owner.end(signal.SIGKILL)
