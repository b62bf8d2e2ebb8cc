"""One commented TOML file per role; wrong keys are refused by name and line before anything starts."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_origin

import msgspec

from relay.core.errors import ConfigurationError

T = TypeVar("T", bound=msgspec.Struct)

_FIELD_PATH = re.compile(r" - at `\$((?:\.\w+|\[[^\]]*\])*)`")
_KEY = r"\"[^\"]*\"|'[^']*'|[A-Za-z0-9_-]+"
_HEADER = re.compile(rf"\[\[?\s*((?:{_KEY})(?:\s*\.\s*(?:{_KEY}))*)\s*\]")
_PAIR = re.compile(rf"((?:{_KEY})(?:\s*\.\s*(?:{_KEY}))*)\s*=\s*(.*)")
_LONG_QUOTES = ('"""', "'''")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")


def load_configuration(
    path: Path, schema: type[T], *, environment: Mapping[str, str] | None = None, prefix: str = "BAYONNE_"
) -> T:
    """Read `path` as `schema`, a msgspec Struct with `forbid_unknown_fields=True`.

    A variable `BAYONNE_TABLE_KEY` in `environment` overrides `key` in `[table]`; commas separate a list.
    Raises `ConfigurationError` that names the key and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path.name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path.name}: not TOML: not a text in UTF-8") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path.name}: not TOML: {error}") from None
    _override(values, schema, environment or {}, prefix)
    try:
        return msgspec.convert(values, schema, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_explain(path, text, str(error), values, schema)) from None


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
                    _parts(environment[name], field.type), field.type, strict=False
                )
            except msgspec.ValidationError:
                raise ConfigurationError(f"environment variable {name}: not a valid value") from None


def _parts(value: str, kind: Any) -> str | list[str]:
    """The elements of `value` where `kind` is a list or a tuple, else `value` itself."""
    if get_origin(kind) not in (list, tuple):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _explain(path: Path, text: str, message: str, values: Mapping[str, Any], schema: type) -> str:
    """Turn msgspec's message into one that names file, line and key."""
    found = _FIELD_PATH.search(message)
    keys = re.findall(r"\.(\w+)", found.group(1)) if found else []
    unknown = _UNKNOWN.search(message)
    if unknown:
        keys.append(unknown.group(1))
    what = f"unknown key '{keys[-1]}'" if unknown else _FIELD_PATH.sub("", message)
    line = _line_of(text, keys, _which(values, schema, keys))
    place = f"line {line}: " if line else ""
    dotted = ".".join(keys)
    return f"{path.name}: {place}{what}" + (f" (key '{dotted}')" if dotted and not unknown else "")


def _which(values: Mapping[str, Any], schema: type, keys: list[str]) -> int:
    """Which of several tables `[[key]]` is the wrong one, from zero: msgspec does not say."""
    tables = values.get(keys[0]) if keys else None
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        try:
            msgspec.convert({**values, keys[0]: [table]}, schema, strict=True)
        except msgspec.ValidationError:
            return index
    return 0


def _line_of(text: str, keys: list[str], which: int) -> int | None:
    """The line on which `keys` (table..., key) stands, or the innermost table or inline table around it.

    Of several tables `[[key]]` it looks into the one numbered `which`.  TOML's own parser keeps no positions.
    """
    table: list[str] = []
    best, depth, seen = None, 0, 0
    inside = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if inside:
            inside = "" if inside in stripped else inside
            continue
        if header := _HEADER.match(stripped):
            table = found = _split(header[1])
            seen += stripped.startswith("[[") and table == keys[:1]
        elif pair := _PAIR.match(stripped):
            found = table + _split(pair[1])
            inside = next((quote for quote in _LONG_QUOTES if pair[2].count(quote) == 1), "")
        else:
            continue
        if seen and table[:1] == keys[:1] and seen - 1 != which:
            continue
        if found == keys[: len(found)] and len(found) > depth:
            best, depth = number, len(found)
    return best


def _split(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_KEY, dotted)]
