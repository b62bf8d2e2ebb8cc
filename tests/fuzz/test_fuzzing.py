"""The fuzzer's own parts: what it calls a finding, how it changes trees, what it keeps."""

import json
import random
from pathlib import Path

import msgspec
import pytest

from relay.core import PeerError
from relay.wire import FrameReader, frame
from tests.fuzz import kept, report
from tests.fuzz.codec import Codec, Shape, canonical, each, same, settled, steady, without_waiting
from tests.fuzz.minimise import least, turns
from tests.fuzz.planted import PLANTED
from tests.fuzz.trees import changed


def _noop(data: bytes, size: int) -> bytes:
    return data[:size]


def test_a_refusal_is_no_finding_and_everything_else_is_one() -> None:
    assert not PLANTED.play(b"short")
    with pytest.raises(IndexError, match="planted"):
        PLANTED.play(bytes((0x42, 0x55, 0x00, 0x17, 0xF1, 0x09)))


@pytest.mark.parametrize("check", [canonical, steady, settled])
def test_what_does_not_come_back_as_it_went_is_a_finding(check: object) -> None:
    def longer(value: int) -> bytes:
        return value.to_bytes(2) + b"\0"

    read = check(lambda data: int.from_bytes(data[:3]), longer)  # type: ignore[operator]
    with pytest.raises(AssertionError, match="not the same"):
        read(b"\0\0\7")


def test_each_is_tried_though_the_first_is_refused() -> None:
    def refuse() -> None:
        raise PeerError("malformed")

    with pytest.raises(AssertionError):
        each(refuse, lambda: same(1, 2))


def test_work_that_waits_is_a_finding() -> None:
    async def nine() -> int:
        return 9

    class _Never:
        def __await__(self) -> object:
            yield None

    async def for_ever() -> None:
        await _Never()  # type: ignore[misc]

    assert without_waiting(nine()) == 9
    with pytest.raises(AssertionError, match="waits"):
        without_waiting(for_ever())


@pytest.mark.parametrize("shape", [Shape.PACKED, Shape.JSON])
def test_a_changed_tree_is_still_a_tree_most_of_the_time(shape: Shape) -> None:
    coding = msgspec.msgpack if shape is Shape.PACKED else msgspec.json
    tree = [1, "name", [2.5, True, None], {"key": [3, "x"]}, "y" * 40]
    data = coding.encode(tree)
    found = [changed(data, 4096, seed, shape, _noop) for seed in range(300)]
    assert all(len(one) <= 4096 for one in found)
    assert len(set(found)) > 100
    for one in found:
        coding.decode(one)


def test_what_is_no_tree_or_grows_too_large_is_changed_by_its_bytes() -> None:
    assert {changed(b"\xc1", 9, seed, Shape.PACKED, _noop) for seed in range(50)} == {b"\xc1"}
    data = msgspec.msgpack.encode(["x" * 30])
    assert all(len(changed(data, 32, seed, Shape.PACKED, _noop)) <= 32 for seed in range(200))


def test_an_input_is_kept_that_takes_a_turn_of_its_own_and_no_other() -> None:
    def read(data: bytes) -> None:
        FrameReader(4).receive(data)

    codec = Codec("frames", read, lambda: [frame(b"x")])
    oversized = b"\0\0\1\0"
    assert turns(codec, oversized) - turns(codec, frame(b"x"))
    assert least(codec, [frame(b"y"), frame(b"xyz"), oversized, oversized + b"more"]) == [oversized]


def test_lines_of_either_kind_come_back(tmp_path: Path) -> None:
    chance = random.Random(1)
    found = [
        b"SIP/2.0 200 OK\r\n\r\n",
        b'"quoted\\',
        bytes(40),
        chance.randbytes(40),
        "ä\u2028".encode(),
        b"\x85\x1c",
    ]
    path = tmp_path / "corpus" / "kept.txt"
    assert kept.keep([*found, found[0], b""], path) == len(found)
    assert sorted(kept.inputs(path)) == sorted(found)
    assert path.read_text().isascii()
    assert any(line.startswith('"SIP/2.0') for line in path.read_text().splitlines())


def test_a_record_adds_up_all_runs(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    summed = (("executions", "inputs played", False), ("findings", "what went wrong", True))
    for findings in (0, 1):
        rows = [report.row(f"{name}: executions", 5, "") for name in ("a", "b")]
        rows.append(report.row("a: findings", findings, "", bounded=True))
        summary: dict[str, object] = {**report.heading(), "rows": rows}
        assert report.broken(summary) == ["a: findings"] * findings
        report.record(path, summary, summed)
    values = {row["measure"]: (row["value"], row["holds"]) for row in json.loads(path.read_text())["rows"]}
    assert values == {"executions": (20, None), "findings": (1, False)}
