"""The file that tells others of an island: what it may hold, for it goes into a torrc, and what becomes of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import ConfigurationError, PeerError
from relay.tor.island import ISLAND_FILE, IslandFile, anonymity_note, check_address, kept_island
from relay.tor.network_file import NetworkFile
from relay.tor.supervision import CLAIM_FILE

ISLAND = IslandFile.of(
    nickname="authority",
    address="192.168.1.5",
    or_port=5001,
    directory_port=5002,
    v3ident="AB" * 20,
    fingerprint="CD" * 20,
    relays=3,
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ISLAND.write(tmp_path)
    assert IslandFile.parse((tmp_path / ISLAND_FILE).read_bytes()) == ISLAND
    assert ISLAND.authority_line == (
        f"DirAuthority authority orport=5001 no-v2 v3ident={'AB' * 20} 192.168.1.5:5002 {'CD' * 20}"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("nickname", "a\nClientTransportPlugin x exec /bin/sh"),
        ("nickname", "a b"),
        ("nickname", ""),
        ("nickname", "a\n"),
        ("address", "192.168.1.5:1 x\nLog debug stdout"),
        ("address", "192.168.1.5\n"),
        ("address", "example.org"),
        ("address", "0.0.0.0"),
        ("address", "224.0.0.1"),
        ("address", "::1"),
        ("or_port", 0),
        ("or_port", 65536),
        ("or_port", "1"),
        ("directory_port", -1),
        ("v3ident", "ab" * 20),
        ("v3ident", "AB" * 20 + "\n"),
        ("fingerprint", "AB" * 19),
        ("relays", 2),
        ("relays", 10**9),
        ("more", 1),
    ],
)
def test_a_field_that_is_not_what_it_is_called(key: str, value: object) -> None:
    fields = json.loads(json.dumps({name: getattr(ISLAND, name) for name in ISLAND.__struct_fields__}))
    with pytest.raises(PeerError):
        IslandFile.parse(json.dumps({**fields, key: value}).encode())


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(PeerError):
        IslandFile.parse(data)


@pytest.mark.parametrize("data", [b'{"relay\xff": 1}', b'{"nickname": "\xf0("}', b'{"x": ' + b"[" * 4000])
def test_text_that_is_none_and_nesting_without_end(data: bytes) -> None:
    with pytest.raises(PeerError, match="bad island file"):
        IslandFile.parse(data)


def test_a_file_too_long() -> None:
    with pytest.raises(PeerError, match="oversized"):
        IslandFile.parse(b" " * 5000)


def test_who_joins_has_a_network_for_the_configuration(tmp_path: Path) -> None:
    joined = ISLAND.join(tmp_path / "island", 1_800_000_000.0)
    assert NetworkFile.read(tmp_path / "island") == joined
    assert (joined.authority, joined.relays, joined.island) == (ISLAND.authority_line, 3, True)
    assert ISLAND.join(tmp_path / "island", 1_800_000_001.0) != joined


def test_a_network_of_ones_own_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / CLAIM_FILE).touch()
    with pytest.raises(ConfigurationError, match="a network of this machine"):
        ISLAND.join(tmp_path, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == [CLAIM_FILE]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ISLAND.join(tmp_path / "file", 0.0)


def test_an_island_is_kept_at_its_address(tmp_path: Path) -> None:
    assert kept_island(tmp_path, "192.168.1.5") is None
    ISLAND.write(tmp_path)
    assert kept_island(tmp_path, "192.168.1.5") == ISLAND
    assert kept_island(tmp_path, "192.168.1.6") is None
    (tmp_path / ISLAND_FILE).write_text("{")
    assert kept_island(tmp_path, "192.168.1.5") is None


def test_an_address_that_relays_can_have() -> None:
    check_address("127.0.0.1")
    for address in ("0.0.0.0", "::1", "example.org", "", "203.0.113.77", "224.0.0.1"):
        with pytest.raises(ConfigurationError, match="--address"):
            check_address(address)


def test_the_note_counts_the_authority_too(tmp_path: Path) -> None:
    note = anonymity_note(ISLAND.join(tmp_path / "island", 0.0))
    assert "has 4 relays, all on one machine" in note
    assert note.count(".") == 1
