"""pcap files: read back what was written, and let tshark, an independent reader, judge the checksums."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import PeerError
from relay.lab.captures import Datagram, checksum, ip_packet, read_capture, write_capture

ADDRESSES = st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535))
DATAGRAMS = st.builds(
    Datagram,
    at_ns=st.integers(0, 2**32 * 1_000_000_000 - 1),
    source=ADDRESSES,
    destination=ADDRESSES,
    payload=st.binary(max_size=300),
)


@given(st.lists(DATAGRAMS, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, datagrams: list[Datagram]) -> None:
    path = tmp_path_factory.mktemp("captures") / "line.pcap"
    assert write_capture(path, datagrams) == len(datagrams)
    assert read_capture(path) == datagrams


@given(DATAGRAMS)
def test_checksums_verify_to_zero(datagram: Datagram) -> None:
    packet = ip_packet(datagram)
    assert checksum(packet[:20]) == 0
    pseudo_header = packet[12:20] + b"\x00\x11" + packet[24:26]
    assert checksum(pseudo_header + packet[20:]) == 0


def test_tshark_agrees(tmp_path: Path) -> None:
    path = tmp_path / "line.pcap"
    sent = [
        Datagram(
            1_800_000_000_123_456_789 + k * 20_000_000,
            ("127.0.10.1", 40000 + k),
            ("127.0.0.9", 7210),
            bytes([k]) * n,
        )
        for k, n in enumerate((160, 160, 33, 0))
    ]
    write_capture(path, sent)
    command = ["tshark", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    fields = "frame.time_epoch ip.src udp.srcport ip.dst udp.dstport udp.length"
    fields += " ip.checksum.status udp.checksum.status"
    columns = [part for field in fields.split() for part in ("-e", field)]
    output = subprocess.run(
        [*command, "-T", "fields", *columns], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split("\t") for line in output.splitlines()]
    assert len(rows) == len(sent)
    for row, datagram in zip(rows, sent, strict=True):
        seconds, _, fraction = row[0].partition(".")
        assert int(seconds) * 10**9 + int(fraction) == datagram.at_ns
        assert (row[1], int(row[2])) == datagram.source
        assert (row[3], int(row[4])) == datagram.destination
        assert int(row[5]) == datagram.size + 8
        assert row[6:] == ["1", "1"], "tshark calls a checksum wrong"


def test_a_capture_that_was_cut_short_keeps_its_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "line.pcap"
    sent = [Datagram(k, ("127.0.0.1", 1), ("127.0.0.2", 2), b"x" * 160) for k in range(3)]
    write_capture(path, sent)
    path.write_bytes(path.read_bytes()[:-5])
    assert read_capture(path) == sent[:2]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "line.pcap"
    path.write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(PeerError):
        read_capture(path)
    path.write_bytes(b"")
    with pytest.raises(PeerError):
        read_capture(path)
