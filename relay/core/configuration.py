"""One commented TOML file per role; unknown or wrong keys are refused by name and line before anything starts."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from relay.core.errors import ConfigurationError

T = TypeVar("T", bound=msgspec.Struct)

_FIELD_PATH = re.compile(r" - at `\$((?:\.\w+|\[[^\]]*\])*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")


def load_configuration(
    path: Path, schema: type[T], *, environment: Mapping[str, str] | None = None, prefix: str = "BAYONNE_"
) -> T:
    """Read `path` as `schema`, a msgspec Struct with `forbid_unknown_fields=True`.

    A variable `BAYONNE_TABLE_KEY` in `environment` overrides `key` in `[table]`.
    Raises `ConfigurationError` that names the key and the line.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be read ({error.strerror})") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path.name}: not TOML: {error}") from None
    _override(values, schema, environment or {}, prefix)
    try:
        return msgspec.convert(values, schema, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_explain(path, text, str(error))) from None


def _override(values: dict[str, Any], schema: type, environment: Mapping[str, str], prefix: str) -> None:
    for field in msgspec.structs.fields(schema):
        name = f"{prefix}{field.name.upper()}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            table = values.setdefault(field.encode_name, {})
            if isinstance(table, dict):
                _override(table, field.type, environment, f"{name}_")
        elif name in environment:
            try:
                values[field.encode_name] = msgspec.convert(
                    environment[name], field.type, strict=False
                )
            except msgspec.ValidationError:
                raise ConfigurationError(f"environment variable {name}: not a valid value") from None


def _explain(path: Path, text: str, message: str) -> str:
    """Turn msgspec's message into one that names file, line and key."""
    found = _FIELD_PATH.search(message)
    keys = re.findall(r"\.(\w+)", found.group(1)) if found else []
    unknown = _UNKNOWN.search(message)
    if unknown:
        keys.append(unknown.group(1))
    what = f"unknown key '{keys[-1]}'" if unknown else _FIELD_PATH.sub("", message)
    line = _line_of(text, keys)
    place = f"line {line}: " if line else ""
    dotted = ".".join(keys)
    return f"{path.name}: {place}{what}" + (f" (key '{dotted}')" if dotted and not unknown else "")


def _line_of(text: str, keys: list[str]) -> int | None:
    """The line on which `keys` (table..., key) stands; TOML's own parser keeps no positions."""
    table: list[str] = []
    best: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"\[\[?\s*([^\]]+?)\s*\]\]?", stripped):
            table = [part.strip().strip("\"'") for part in header.group(1).split(".")]
            if table == keys:
                best = best or number
        elif (pair := re.match(r"([A-Za-z0-9_\-\"'.]+)\s*=", stripped)) is not None:
            name = [part.strip().strip("\"'") for part in pair.group(1).split(".")]
            if table + name == keys:
                return number
    return best
