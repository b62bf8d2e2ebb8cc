"""Two real baresips call each other directly: the ground on which the demo's figures stand."""

import os
from pathlib import Path

import pytest

from relay.core import SystemClock, TransportUnavailable
from relay.lab.audio import compare, write_wav
from relay.lab.softphones import Account, Softphone, account_line
from relay.lab.speech import Voice, build_speech, sounds_directory

SECONDS = 5


def phone(account: Account, directory: Path) -> Softphone:
    microphone = directory / f"{account.user}.wav"
    voice: Voice = "english" if account.user == "alice" else "french"
    write_wav(microphone, build_speech(voice, 30, sounds_directory(os.environ), gap=0.5).sound)
    return Softphone(account, microphone, directory / account.user, SystemClock(), os.environ)


@pytest.mark.call
async def test_two_softphones_hear_each_other(tmp_path: Path) -> None:
    """Microphone frame 20 ms, codec 7 ms, the softphone's 4 ms timer, playout up to 60 ms."""
    alice, bob = phone(Account("alice"), tmp_path), phone(Account("bob"), tmp_path)
    try:
        await alice.start()
        await bob.start()
        await alice.dial(f"sip:bob@127.0.0.1:{bob.sip_port}")
        await bob.wait_for("CALL_INCOMING", timeout=5)
        await bob.accept()
        await alice.wait_for("CALL_ESTABLISHED", timeout=5)
        assert "ESTABLISHED" in await alice.command("listcalls")
        with pytest.raises(TimeoutError):
            await alice.wait_for("CALL_CLOSED", timeout=SECONDS)
        await alice.hang_up()
        await bob.wait_for("CALL_CLOSED", timeout=5)
        for mouth, ear in ((alice, bob), (bob, alice)):
            spoken, heard = mouth.spoken(), ear.heard()
            assert spoken is not None
            assert heard is not None
            found = compare(spoken, heard)
            assert found is not None
            assert found.correlation > 0.85
            assert 25 < found.delay_ms < 120
            assert found.compared_seconds >= 2
    finally:
        await alice.close()
        await bob.close()
    assert alice.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(alice.pid, 0)


async def test_a_softphone_that_cannot_start_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    silent = Softphone(Account("alice"), tmp_path / "no.wav", tmp_path / "alice", SystemClock(), environment)
    try:
        with pytest.raises(TransportUnavailable, match="not installed"):
            await silent.start()
    finally:
        await silent.close()


def test_account_lines() -> None:
    line = account_line(Account("alice", "secret", "127.0.0.1:5060", "tcp", "auto"), "127.0.0.1", 1)
    assert line.startswith(
        "<sip:alice@127.0.0.1:5060;transport=tcp>;auth_user=alice;auth_pass=secret;"
        'outbound="sip:127.0.0.1:5060;transport=tcp";regint=60;'
    )
    assert line.endswith("answermode=auto")
    direct = account_line(Account("bob"), "127.0.0.1", 5070)
    assert direct.startswith("<sip:bob@127.0.0.1:5070>;regint=0;")
    assert "outbound" not in direct
