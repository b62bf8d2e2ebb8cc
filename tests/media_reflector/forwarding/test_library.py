"""A library is taken only when it was built from the sources that are here."""

import ctypes.util
from pathlib import Path

import pytest

from relay.core import TransportUnavailable
from relay.media_reflector.forwarding import face, library
from relay.media_reflector.forwarding.build import build_crate
from relay.media_reflector.forwarding.library import ROOT, open_library, sources, sources_hash
from tests.native_code import compiler, native_plane


def test_every_source_counts(tmp_path: Path) -> None:
    assert ROOT in sources()
    assert {path.suffix for path in sources()} == {".rs"}
    one, other = tmp_path / "a.rs", tmp_path / "b.rs"
    one.write_text("fn a() {}")
    other.write_text("")
    before = sources_hash([one, other])
    other.write_text(" ")
    assert sources_hash([one, other]) != before
    other.rename(tmp_path / "c.rs")
    assert sources_hash([one, tmp_path / "c.rs"]) != before


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(TransportUnavailable, match="not built; `make setup` builds it"):
        open_library(tmp_path / "nothing.so")


def test_some_other_file_there(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(TransportUnavailable, match="not built"):
        open_library(tmp_path / "text.so")


def test_a_library_without_our_functions() -> None:
    with pytest.raises(TransportUnavailable, match="not built"):
        open_library(Path(ctypes.util.find_library("c") or "libc.so.6"))


def test_built_from_other_sources(tmp_path: Path) -> None:
    compiler()
    build_crate(ROOT, tmp_path / "old.so", label="0123456789abcdef")
    with pytest.raises(TransportUnavailable, match="other sources"):
        open_library(tmp_path / "old.so")


def test_says_which_libcrypto() -> None:
    native_plane()
    assert "OpenSSL" in library.libcrypto()


def test_counts_what_the_face_counts() -> None:
    """The counters' names are said twice, in the same order."""
    text = (ROOT.parent / "counters.rs").read_text()
    names = text.split("pub enum Count {")[1].split("}")[0].replace(",", " ").split()
    snake = ["".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_") for name in names]
    assert tuple(snake) == face.COUNTERS
