"""Documents, units and scripts name only what is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
UNITS = sorted((ROOT / "ops" / "systemd").glob("*.service"))

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_QUOTED = re.compile(r"`([^`\s]+)`")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_links_lead_somewhere(document: Path) -> None:
    links = [link for link in _LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["threat-model.md", "spec-coverage.md", "protocol.md"])
def test_files_and_tests_that_are_cited_exist(name: str) -> None:
    cited = set(_QUOTED.findall((ROOT / "docs" / name).read_text()))
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    names = {word for word in cited if re.fullmatch(r"test_\w+", word)}
    files = {word for word in cited if re.fullmatch(r"(\w+/)+(\w+\.py)?", word)}
    assert [word for word in names if f"def {word}(" not in tests] == []
    places = [ROOT, ROOT / "relay", ROOT / "tests"]
    assert [word for word in files if not any((place / word).exists() for place in places)] == []


def test_ci_runs_what_the_readme_says() -> None:
    commands = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert commands[-1] == "exec make test"
    assert "\n    make demo\n    make test\n" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("unit", UNITS, ids=shown)
def test_units_start_a_command_that_exists(unit: Path) -> None:
    started = re.search(
        r"^ExecStart=\S+/bayonne (\S+) --config \S+/(\S+\.toml)$", unit.read_text(), re.MULTILINE
    )
    assert started is not None
    assert (ROOT / "relay" / "cli" / f"{started[1].replace('-', '_')}.py").is_file()
    assert (ROOT / "ops" / "config" / started[2]).is_file()


def test_the_journal_keeps_no_call_history() -> None:
    agent = (ROOT / "ops" / "systemd" / "bayonne-agent.service").read_text()
    assert "\nStandardOutput=null\n" in agent
    assert "--json" not in agent


@pytest.mark.parametrize("script", sorted((ROOT / "ops").rglob("*.sh")), ids=shown)
def test_scripts_can_be_read_by_the_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_makefile_knows_every_target_it_names() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:", text, re.MULTILINE), target
