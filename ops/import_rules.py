"""The house's import rules (DESIGN.md section 7): `python -m ops.import_rules [DIRECTORY]`.

Imports go downward, packages of one level never import one another, what must not know something cannot
import it, the machine's clocks and chance are read in `relay.core` alone, and tests stand where their sources
stand.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"core"}),
    frozenset({"wire"}),
    frozenset({"identity", "rtp", "chaff"}),
    frozenset({"sip", "zrtp", "tor", "forward_publish", "contact_cache", "media_reflector"}),
    frozenset({"agent", "node"}),
    frozenset({"lab", "web", "cli"}),
)

ALLOWED_SIDEWAYS = frozenset({("cli", "lab"), ("cli", "web")})
"""The command line starts the lab and the page; nothing imports the command line."""

MUST_NOT_KNOW = frozenset({("chaff", "rtp"), ("chaff", "sip"), ("media_reflector", "identity")})
"""(package, package): the first must never learn what the second is about, whatever the levels say."""

SENSES = frozenset({"time", "random", "secrets", "uuid"})
"""Modules that read the machine's clocks or chance; `relay.core` wraps them, others take arguments."""

MAY_SENSE = frozenset({("relay", "agent", "pacer")})
"""Scripts that run by their path, without the project: they have no `relay.core`."""

_SENSING_CALLS = frozenset({"urandom", "getrandom", "utcnow", "today"})

NAME_LOOKUPS = frozenset({"getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"})

FREE_TEST_DIRECTORIES = frozenset(
    {
        "integration",
        "scenarios",
        "knowledge",
        "property",
        "vectors",
        "browser",
        "fuzz",
        "model",
        "ops",
        "bench",
    }
)

_LEVEL_OF = {package: level for level, packages in enumerate(LEVELS) for package in packages}


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One broken rule: where, and what to do about it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def check(root: Path) -> list[Breach]:
    """All breaches in the tree at `root`, which holds `relay/` and `tests/`."""
    breaches: list[Breach] = []
    for path in sorted((root / "relay").rglob("*.py")):
        shown = path.relative_to(root).as_posix()
        try:
            tree = ast.parse(path.read_text())
        except SyntaxError as error:
            breaches.append(Breach(shown, error.lineno or 1, "cannot be parsed"))
            continue
        module = path.relative_to(root).with_suffix("").parts
        breaches += [Breach(shown, line, message) for line, message in _module_breaches(module, tree)]
    breaches += _test_breaches(root)
    return sorted(breaches)


def _module_breaches(module: tuple[str, ...], tree: ast.Module) -> Iterator[tuple[int, str]]:
    package = module[1] if len(module) > 2 else ""
    if package and package not in _LEVEL_OF:
        yield 1, f"relay.{package} has no level; give it one in ops/import_rules.py"
        return
    for node in ast.walk(tree):
        for target in _imported(node):
            line = getattr(node, "lineno", 1)
            if target.startswith("."):
                yield line, "relative import; write the whole name"
            elif message := _relay_breach(package, target):
                yield line, message
            elif package != "core" and module not in MAY_SENSE and target.split(".")[0] in SENSES:
                yield (
                    line,
                    f"'{target}' reads the machine's clock or chance; take a relay.core Clock or Entropy",
                )
        if isinstance(node, ast.Attribute) and node.attr in NAME_LOOKUPS:
            yield node.lineno, f"'{node.attr}' asks DNS; names travel through Tor"
        if package != "core" and isinstance(node, ast.Attribute) and node.attr in _SENSING_CALLS:
            yield (
                node.lineno,
                f"'{node.attr}' reads the machine's clock or chance; take a relay.core Clock or Entropy",
            )


def _imported(node: ast.AST) -> Iterator[str]:
    """The modules that one statement imports; a name imported from `relay` itself is a package."""
    if isinstance(node, ast.Import):
        for name in node.names:
            yield name.name
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        if module == "relay":
            for name in node.names:
                yield f"relay.{name.name}"
        else:
            yield module


def _relay_breach(package: str, target: str) -> str | None:
    parts = target.split(".")
    if parts[0] in {"tests", "ops", "bench"}:
        return f"'{parts[0]}' is not part of the product"
    if parts[0] != "relay" or len(parts) < 2 or parts[1] not in _LEVEL_OF:
        return None
    other = parts[1]
    if not package:
        return "relay/__init__.py imports nothing"
    if other == package:
        return None
    if (package, other) in MUST_NOT_KNOW:
        return f"relay.{package} must never know of relay.{other}"
    if (package, other) in ALLOWED_SIDEWAYS:
        return None
    mine, theirs = _LEVEL_OF[package], _LEVEL_OF[other]
    if theirs == mine:
        return f"relay.{package} and relay.{other} stand on one level; declare a Protocol for the level above"
    if theirs > mine:
        return f"relay.{package} must not import relay.{other}, which stands above it"
    return None


def _test_breaches(root: Path) -> Iterator[Breach]:
    """tests/a/b/test_c.py tests relay/a/b/c.py; directories that span packages are free."""
    tests = root / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        inside = path.relative_to(tests)
        if inside.parts[0] in FREE_TEST_DIRECTORIES:
            continue
        # A specification's own vectors are named after it.
        if re.fullmatch(r"test_rfc\d+(_\w+)?", path.stem) and (root / "relay" / inside.parent).is_dir():
            continue
        source = root / "relay" / inside.parent / f"{path.stem.removeprefix('test_')}.py"
        # A test of a package's public face is named after the package.
        face = root / "relay" / inside.parent / path.stem.removeprefix("test_") / "__init__.py"
        if not source.is_file() and not face.is_file():
            wanted = source.relative_to(root).as_posix()
            yield Breach(path.relative_to(root).as_posix(), 1, f"mirrors no source: there is no {wanted}")


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    breaches = check(root)
    for breach in breaches:
        print(breach, file=sys.stderr)
    if breaches:
        print(f"import rules: {len(breaches)} broken", file=sys.stderr)
        return 1
    modules = len(list((root / "relay").rglob("*.py")))
    print(f"import rules: {modules} modules in order")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
