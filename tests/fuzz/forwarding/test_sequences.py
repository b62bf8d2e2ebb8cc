"""What the fuzzer found worth keeping, and chance besides, through both data planes: the same bytes from both, and
every datagram counted once."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.core import SystemClock
from relay.media_reflector.forwarding import native
from relay.media_reflector.forwarding.face import FATES, Forwarding
from relay.media_reflector.forwarding.twin import PlainForwarding
from tests.fuzz.forwarding.libfuzzer import KEPT
from tests.fuzz.forwarding.sequences import KEYS, MANY, Output, Run
from tests.fuzz.kept import inputs, pack, unpack

SEEDS = 60


def plain() -> Forwarding:
    return PlainForwarding(SystemClock())


def played(forwarding: Forwarding, data: bytes) -> tuple[list[Output], dict[str, int], int]:
    """All that came out, the counters, and datagrams without exactly one fate."""
    run = Run(forwarding, data)
    outputs = list(run.play())
    return outputs, forwarding.counters(), run.unaccounted()


def by_chance(seed: int) -> bytes:
    """An input that does the daily work of some lines, with accidents in it."""
    chance = random.Random(seed)
    # Some streams are about to wrap.
    packets = [chance.choice((0, 5, 0x7FF0, 0xFFD0)) for _ in range(KEYS)]

    def few() -> int:
        """How often; now and then as often as fills what can be full."""
        return chance.choice((0, 0, 1, 2, 3, 3, chance.randrange(MANY, 0x100)))

    def arguments(operation: int) -> list[int]:
        line, address, keys = chance.randrange(5), chance.randrange(4), chance.randrange(9)
        match operation:
            case 0 | 1:
                keys = chance.randrange(8)
                packets[keys] = max(0, packets[keys] + chance.choice((1, 1, 1, 4, 60, 300, -1, -130)))
                packet = packets[keys].to_bytes(3)
                source = chance.choice((keys & 3, keys & 3, keys & 3, address))
                cell = [
                    source,
                    keys,
                    packet[1],
                    packet[2],
                    packet[0],
                    chance.choice((0, 1, 1, 1, 2, 3)),
                    line,
                    few(),
                ]
                return cell + [chance.randrange(160), chance.randrange(256)] * operation
            case 2:
                size = chance.choice((0, 1, 11, 27, 159, 160, 160, 160, 161, 255))
                return [
                    address,
                    size,
                    *([0x80, 111] if chance.random() < 0.5 else [0, 0]),
                    *chance.randbytes(30),
                ][: 2 + min(size, 32)]
            case 3:
                return [address, chance.choice((keys, 0x80 + keys)), line]
            case 4:
                return [
                    address,
                    chance.choice((keys, 0x80 + keys)),
                    chance.randrange(3),
                    chance.randrange(8),
                    few(),
                ]
            case 7:
                return [
                    line,
                    address,
                    chance.randrange(4),
                    *chance.choice(((0, 7), (0xFF, 0xF8))),
                    chance.randrange(3),
                ]
            case 10:
                return [line, chance.randrange(10), keys]
            case 12:
                return [chance.randrange(20), few(), keys, address]
            case 13:
                return [chance.randrange(3), chance.randrange(3)]
            case 14:
                return [chance.choice((0, 4, 19, 20, 47, 19, 20, 47, MANY, 0xFF))]
            case 15:
                return [chance.choice((0, 0, 0, 1, 5, 160))]
            case _:
                return [line, chance.choice((keys, 4 + line, 0xF0))]

    # In some nobody asks for what was handed up, until there is no more room for it.
    asks = 0 if seed % 5 == 0 else 4
    often = [30, 6, 3, 3, 8, 3, 4, 4, 4, 1, 4, 1, 2, 3, 16, asks]
    operations = [int(seed % 4 != 0)]
    for operation in chance.choices(range(16), often, k=chance.randrange(20, 150)):
        operations += [operation, *arguments(operation)]
    return bytes(operations)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_data_planes_do_the_same_by_chance(seed: int) -> None:
    assert_agree(by_chance(seed))


def test_both_data_planes_do_the_same_with_all_that_was_kept() -> None:
    kept = inputs(KEPT)
    assert kept, "the corpus is gone"
    for data in kept:
        assert_agree(data)


def assert_agree(data: bytes) -> None:
    expected, counters, unaccounted = played(plain(), data)
    assert unaccounted == 0
    outputs, native_counters, native_unaccounted = played(native.NativeForwarding(), data)
    assert native_unaccounted == 0
    for at, (one, other) in enumerate(zip(outputs, expected, strict=False)):
        assert one == other, f"output {at} of {data.hex()}"
    assert len(outputs) == len(expected), data.hex()
    assert native_counters == counters, data.hex()


@pytest.mark.parametrize("make", [plain, native.NativeForwarding], ids=["plain", "native"])
def test_every_fate_befalls_some_datagram(make: Callable[[], Forwarding]) -> None:
    """The accounting holds where every reason to drop occurs: else it would hold of nothing."""
    counted = dict.fromkeys((*FATES, "upcalls_full"), 0)
    for data in map(by_chance, range(SEEDS)):
        _, counters, unaccounted = played(make(), data)
        assert unaccounted == 0
        for name in counted:
            counted[name] += counters[name]
    assert not [name for name, count in counted.items() if not count]


def test_a_corpus_is_what_was_put_in(tmp_path: Path) -> None:
    unpacked, path = tmp_path / "unpacked", tmp_path / "corpus.txt"
    path.write_text("0102\nff\n")
    assert unpack(unpacked, path) == 2
    assert pack(unpacked, tmp_path / "again.txt") == 2
    assert inputs(tmp_path / "again.txt") == [b"\xff", b"\x01\x02"]
