"""The native data plane is built from its sources by the compiler alone."""

import subprocess
from pathlib import Path

import pytest

from relay.core import TransportUnavailable
from relay.media_reflector.forwarding import build
from relay.media_reflector.forwarding.build import build_crate, find_compiler
from relay.media_reflector.forwarding.library import ROOT, open_library, sources, sources_hash
from tests.native_code import compiler, native_plane


@pytest.fixture
def needs_compiler() -> None:
    compiler()


def pretend(directory: Path, version: str) -> Path:
    """A program that says it is a compiler."""
    program = directory / "rustc"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "will_do"),
    [
        ("rustc 1.63.0", False),
        ("rustc 1.69.0 (84c898d65 2023-04-16)", False),
        ("rustc 1.70.0 (90c541806 2023-05-31)", True),
        ("rustc 1.96.0 (Debian)", True),
        ("rustc 2.0.0-nightly", True),
        ("something else", False),
        ("", False),
    ],
)
def test_a_compiler_must_be_recent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, will_do: bool
) -> None:
    program = pretend(tmp_path, version)
    monkeypatch.setenv("RUSTC", str(program))
    assert find_compiler() == (str(program) if will_do else None)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUSTC", str(tmp_path / "nothing"))
    with pytest.raises(TransportUnavailable, match=r"needs rustc 1\.70 or newer"):
        build_crate(ROOT, tmp_path / "x.so")


@pytest.mark.usefixtures("needs_compiler")
def test_a_crate_that_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "wrong.rs").write_text("fn wrong() -> u8 { }")
    with pytest.raises(TransportUnavailable, match=r"cannot be built: error\[E0308\]"):
        build_crate(tmp_path / "wrong.rs", tmp_path / "built" / "wrong.so")
    assert list((tmp_path / "built").iterdir()) == []


@pytest.mark.usefixtures("needs_compiler")
def test_a_library_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    output = tmp_path / "built" / "forwarding.so"
    output.parent.mkdir()
    output.write_text("old")
    build_crate(ROOT, output, label=sources_hash(sources()))
    open_library(output)
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.usefixtures("needs_compiler")
def test_a_directory_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransportUnavailable, match="cannot be written to"):
        build_crate(ROOT, tmp_path / "file" / "x.so")


@pytest.mark.usefixtures("needs_compiler")
def test_the_sources_tests_pass(tmp_path: Path) -> None:
    """The tests beside the sources, which need no Python."""
    program = tmp_path / "tests"
    compiler = find_compiler()
    assert compiler
    subprocess.run(
        [compiler, "--edition", "2021", "--test", "-D", "warnings", "-o", program, ROOT],
        check=True,
        capture_output=True,
        text=True,
    )
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "test result: ok. " in done.stdout
    assert "0 passed" not in done.stdout


def test_building_again_is_quick_and_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native_plane()
    monkeypatch.setenv("RUSTC", str(tmp_path / "nothing"))
    assert build.main() == 0
    assert capsys.readouterr() == ("", "")


def test_says_when_it_cannot_build(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing() -> None:
        raise TransportUnavailable("not there")

    monkeypatch.setattr(build, "open_library", nothing)
    monkeypatch.setenv("RUSTC", str(tmp_path / "nothing"))
    assert build.main() == 1
    assert "needs rustc" in capsys.readouterr().err


def test_unsafe_code_stays_where_it_may_be() -> None:
    """Where the compiler is not told to forbid it: system calls, libcrypto, Python."""
    lib = ROOT.read_text()
    allowed = {"sys", "crypto", "ffi"}
    modules = {path.stem for path in sources()} - {"lib"}
    for module in modules:
        assert f"mod {module};" in lib
        assert (f"#[forbid(unsafe_code)]\nmod {module};" in lib) == (module not in allowed)
