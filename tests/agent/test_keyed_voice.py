"""A keyed call, cell by cell: through loss, over epochs, before an attacker that holds every cell, and in memory."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.agent.keyed_voice import KeyedVoice
from relay.core import SeededEntropy
from relay.forward_publish import CallKeys, call_epochs
from relay.rtp import Kind

BODIES = Callable[[int, bytes], list[bytes]]


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_epochs, "EPOCH_CELLS", (200, 400))


def call(number: int = 0) -> tuple[KeyedVoice, KeyedVoice]:
    entropy = SeededEntropy(f"call {number}")
    up, down, transcript, again = (entropy.token(32) for _ in range(4))
    return (
        KeyedVoice(CallKeys(up, down, transcript, again), entropy),
        KeyedVoice(CallKeys(down, up, transcript, again), entropy),
    )


def talk(
    one: KeyedVoice, other: KeyedVoice, cells: int, path: BODIES = lambda _, body: [body]
) -> list[bytes]:
    """Voice in both directions; returns what `other` heard.  `path` says what becomes of each body of `one`'s."""
    heard = []
    for number in range(cells):
        one.packer.offer_voice(b"voice" + number.to_bytes(4) + bytes(51))
        other.packer.offer_voice(bytes(60))
        assert one.open(other.next_body(), 0.0) is not None
        for body in path(number, one.next_body()):
            heard += [datagram.data for datagram in other.open(body, 0.02 * number) or []]
    return heard


def test_voice_goes_on_over_epochs_and_nobody_hears_them_change() -> None:
    one, other = call()
    heard = talk(one, other, 2_500)
    assert one.epoch == other.epoch >= 5
    assert [int.from_bytes(frame[5:9]) for frame in heard] == list(range(2_500))
    assert other.lost == 0


def test_three_percent_of_loss_and_cells_out_of_order_stop_no_epoch() -> None:
    one, other = call()
    chance = random.Random(3)
    late: list[bytes] = []

    def path(number: int, body: bytes) -> list[bytes]:
        if chance.random() < 0.03:
            return []
        if chance.random() < 0.03:
            late.append(body)
            return []
        out, late[:] = [body, *late], []
        return out

    heard = talk(one, other, 6_000, path)
    assert one.epoch >= 3
    assert abs(one.epoch - other.epoch) <= 1
    assert len(heard) > 0.95 * 6_000


def test_a_bye_is_there_at_once_also_while_keys_are_exchanged() -> None:
    one, other = call()
    while not one.packer._rekeying:
        talk(one, other, 1)
    one.packer.offer_voice(bytes(60))
    one.packer.offer_control(b"BYE")
    assert [d.data for d in other.open(one.next_body(), 0.0) or []] == [bytes(60), b"BYE"]


def test_no_cell_is_taken_twice_or_in_another_call_direction_or_epoch() -> None:
    """The attacker is the reflector: it has every body, and gives any of them to anybody at any time."""
    (one, other), (third, fourth) = call(1), call(2)
    bodies: list[bytes] = []

    def keep(_: int, body: bytes) -> list[bytes]:
        bodies.append(body)
        return [body]

    talk(one, other, 900, keep)
    talk(third, fourth, 900)
    assert one.epoch >= 2
    for receiver in (one, other, third, fourth):
        assert [receiver.open(body, 0.0) for body in bodies] == [None] * len(bodies)
    # The control: what is opened again, or by another key, is noticed here.
    fresh = one.next_body()
    assert other.open(fresh, 0.0) is not None


def test_a_reflector_that_makes_up_bodies_turns_nobody_to_another_epoch() -> None:
    one, other = call()
    chance = random.Random(4)
    for _ in range(500):
        assert other.open(chance.randbytes(131), 0.0) is None
    assert other.epoch == 0
    assert len(talk(one, other, 500)) == 500
    assert one.epoch == other.epoch >= 1


def test_what_the_peer_says_about_keys_is_not_handed_on() -> None:
    one, other = call()
    one.packer.offer(Kind.REKEY, b"nonsense")
    assert other.open(one.next_body(), 0.0) == []


# -- memory ------------------------------------------------------------------------------------------------------------

SCRIPT = Path(__file__).with_name("searched_call.py")


def test_keys_of_an_epoch_that_is_over_are_nowhere_in_memory() -> None:
    """All memory of a process is searched.  The control is an agent that keeps the call's first keys, as one that held
    on to `CallKeys` would."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], check=True, capture_output=True, text=True, timeout=120
    )
    assert dict(line.split(" ", 1) for line in done.stdout.replace("\n", " \n").splitlines()) == {
        "honest-begun": "first ",
        "honest-later": "present ",
        "keeping-begun": "first ",
        "keeping-later": "first present ",
        "ended": "",
    }
