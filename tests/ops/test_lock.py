"""requirements.lock: whole, hashed, the same for everybody, and what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    "requirements.lock",
    "requirements-build.lock",
    "requirements-fuzz.lock",
    "requirements-quality.lock",
)

_PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==([0-9][^ ;]*) \\$")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if match := _PIN.match(line):
            found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pinned_version_or_a_hash_of_it(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert lines[0].startswith("# Written by")
    assert [line for line in lines[1:] if not _PIN.match(line) and not _HASH.match(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_version_has_hashes(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    for number, line in enumerate(lines):
        if _PIN.match(line):
            assert _HASH.match(lines[number + 1]), line


def test_the_lock_satisfies_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    locked = pins("requirements.lock")
    for text in wanted:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"run 'make lock': {requirement.name} is missing"
        assert requirement.specifier.contains(version), f"run 'make lock': {requirement.name}"


def test_the_lock_can_build_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = pins("requirements-build.lock")
    for text in project["build-system"]["requires"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_both_locks_agree_where_they_overlap() -> None:
    run, build = pins("requirements.lock"), pins("requirements-build.lock")
    assert {name: run[name] for name in run.keys() & build.keys()} == {
        name: build[name] for name in run.keys() & build.keys()
    }
