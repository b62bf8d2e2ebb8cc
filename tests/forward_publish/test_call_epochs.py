"""Epochs of a call: both sides go on together under keys that follow from nothing that is left of the last ones."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import SeededEntropy
from relay.forward_publish import CallEpochs, Expect, GoOn, HybridKey, Say, call_epochs
from relay.forward_publish.prekeys import ENCAPSULATION_SIZE, PREKEY_SIZE

SMALL, LARGE = bytes(32), bytes([255]) * 32


class Side:
    """One side, and what its cells are sealed with and opened by."""

    def __init__(self, send: bytes, receive: bytes, name: str) -> None:
        self.epochs = CallEpochs(send, receive, SeededEntropy(name))
        self.seals, self.opens = send, [receive]
        self.said: list[bytes] = []

    def carry_out(self) -> list[bytes]:
        said = []
        for step in self.epochs.steps():
            match step:
                case Say(message):
                    said.append(message)
                case Expect(key):
                    self.opens.append(bytes(key))
                case GoOn(key):
                    self.seals = bytes(key)
        self.said += said
        return said

    def hear_cell(self, other: "Side") -> None:
        """One body of the other's, chaff perhaps."""
        assert other.seals in self.opens, "sealed under what this side would not open"
        if other.seals == self.opens[-1] and len(self.opens) > 1:
            self.opens = self.opens[-1:]
            self.epochs.turned()
            self.carry_out()

    def held(self) -> list[bytes]:
        """Every key that it holds."""
        pending = self.epochs._pending
        made = (pending.send, pending.receive) if pending is not None else ()
        keys = (self.epochs._send, self.epochs._receive, *made)
        return [bytes(key) for key in keys if key is not None]


def two() -> tuple[Side, Side]:
    return Side(SMALL, LARGE, "offers"), Side(LARGE, SMALL, "answers")


def run(first: Side, second: Side, cells: int, lost: Callable[[int], bool] = lambda _: False) -> None:
    """A call of so many cells; of the messages, `lost` drops some by their number."""
    number = 0
    for _ in range(cells):
        for here, there in ((first, second), (second, first)):
            here.epochs.tick()
            for message in here.carry_out():
                number += 1
                if not lost(number):
                    there.epochs.receive(message)
                    for answer in there.carry_out():
                        number += 1
                        if not lost(number):
                            here.epochs.receive(answer)
                            here.carry_out()
            there.hear_cell(here)


def test_both_sides_go_on_together_every_few_minutes() -> None:
    first, second = two()
    keys = set()
    for _ in range(100):
        run(first, second, 1_000)
        assert (first.seals, second.seals) == (second.opens[-1], first.opens[-1])
        keys |= {first.seals, second.seals}
    epoch = first.epochs.epoch
    assert epoch == second.epochs.epoch
    assert 100_000 // 30_000 <= epoch <= 100_000 // 15_000
    assert len(keys) == 2 * (epoch + 1)
    assert [len(message) for message in first.said] == [5 + PREKEY_SIZE] * epoch
    assert [len(message) for message in second.said] == [5 + ENCAPSULATION_SIZE] * epoch


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, 12)))
def test_whatever_is_lost_is_said_again_and_nobody_seals_what_the_other_cannot_open(
    dropped: set[int],
) -> None:
    first, second = two()
    run(first, second, 30_000 + 15 * call_epochs.REPEAT_CELLS, lost=dropped.__contains__)
    assert first.epochs.epoch == second.epochs.epoch >= 1


def test_messages_cost_little_where_nothing_arrives() -> None:
    first, second = two()
    run(first, second, 60_000, lost=lambda _: True)
    assert first.epochs.epoch == second.epochs.epoch == 0
    assert len(first.said) <= 45_000 // call_epochs.REPEAT_CELLS + 1
    assert second.said == []


def derived(key: bytes, shared: bytes, said: Sequence[bytes]) -> bytes:
    transcript = hashlib.sha256(b"".join(said)).digest()
    return bytes(call_epochs._next_key(bytearray(key), shared, transcript))


def test_a_thief_of_one_epochs_keys_gets_neither_the_last_nor_the_next() -> None:
    """The control is a call whose next key follows from the last one and what was said alone."""
    first, second = two()
    recorded = {0: (first.seals, second.seals)}
    while first.epochs.epoch < 2:
        run(first, second, 500)
        recorded.setdefault(first.epochs.epoch, (first.seals, second.seals))
    stolen = first.held()
    assert set(recorded[2]) == set(stolen)
    assert not (set(recorded[0]) | set(recorded[1])) & set(stolen)
    said = (first.said[-1], second.said[-1])
    for guess in (bytes(64), b"", bytes(32)):
        assert derived(recorded[1][0], guess, said) not in recorded[2]


def test_the_control_a_ratchet_without_fresh_keys_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = call_epochs._next_key
    monkeypatch.setattr(call_epochs, "_next_key", lambda key, _, transcript: honest(key, b"", transcript))
    first, second = two()
    run(first, second, 30_000)
    assert first.epochs.epoch >= 1
    monkeypatch.undo()
    assert derived(SMALL, b"", (first.said[-1], second.said[-1])) == first.seals


@pytest.mark.parametrize("epoch", [0, 2, 2**32 - 1])
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_messages_of_another_epoch_or_kind_change_nothing(epoch: int, kind: int) -> None:
    first, second = two()
    for side in (first, second):
        for size in (PREKEY_SIZE, ENCAPSULATION_SIZE):
            side.epochs.receive(bytes([kind]) + epoch.to_bytes(4) + bytes(size))
        assert side.epochs.steps() == []
        assert side.epochs.counters["refused"] == 2


def test_what_was_said_in_one_epoch_is_of_no_use_in_the_next() -> None:
    first, second = two()
    while first.epochs.epoch < 1:
        run(first, second, 500)
    offer, answer = first.said[0], second.said[0]
    before = first.held(), second.held()
    for message in (offer, answer):
        first.epochs.receive(message)
        second.epochs.receive(message)
    assert (first.carry_out(), second.carry_out()) == ([], [])
    assert (first.held(), second.held()) == before


def test_a_second_offer_for_one_epoch_is_refused() -> None:
    _, second = two()
    entropy = SeededEntropy("two offers")
    for _ in range(2):
        second.epochs.receive(b"\1" + (1).to_bytes(4) + HybridKey.generate(entropy).public)
    steps = second.epochs.steps()
    assert [type(step) for step in steps] == [Expect, Say]
    assert second.epochs.counters["refused"] == 1


@pytest.mark.parametrize("point", [bytes(32), (1).to_bytes(32, "little"), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_key_that_contributes_nothing_is_refused(point: bytes) -> None:
    first, second = two()
    good = HybridKey.generate(SeededEntropy("good")).public
    second.epochs.receive(b"\1" + (1).to_bytes(4) + good[:-32] + point)
    assert second.epochs.steps() == []
    while not first.said:
        first.epochs.tick()
        first.carry_out()
    first.epochs.receive(b"\2" + (1).to_bytes(4) + bytes(ENCAPSULATION_SIZE - 32) + point)
    assert first.epochs.steps() == []
    assert (first.epochs.counters["refused"], second.epochs.counters["refused"]) == (1, 1)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=1300))
def test_noise_raises_nothing(message: bytes) -> None:
    for side in two():
        side.epochs.receive(message)
        assert side.epochs.epoch == 0


def test_nothing_is_left_after_the_call() -> None:
    first, second = two()
    second.epochs.receive(b"\1" + (1).to_bytes(4) + HybridKey.generate(SeededEntropy("left")).public)
    pending = second.epochs._pending
    assert len(second.held()) == 4
    for side in (first, second):
        side.epochs.forget()
        assert set(side.held()) == {bytes(32)}
    assert pending is not None
    assert pending.send == bytearray(32)


def test_nothing_secret_in_the_representations() -> None:
    assert [repr(step) for step in (Say(b"s"), Expect(bytearray(b"e")), GoOn(bytearray(b"g")))] == [
        "Say()",
        "Expect()",
        "GoOn()",
    ]
