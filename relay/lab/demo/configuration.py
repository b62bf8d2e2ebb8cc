"""The configuration files of the demo's roles, such as an operator or a caller would write."""

import json
from collections.abc import Mapping
from pathlib import Path

Value = str | float | int | bool | list[str]
Tables = Mapping[str, Value | Mapping[str, Value]]


def write_toml(path: Path, tables: Tables) -> Path:
    """Write plain values first, then each table; strings as TOML basic strings (the same as JSON's)."""
    lines = [f"{key} = {_literal(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    for name, table in tables.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {_literal(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def _literal(value: Value) -> str:
    return json.dumps(value)


def contact_point(directory: Path, network: Path) -> Path:
    return write_toml(
        directory / "contact-point.toml",
        {
            "state_directory": str(directory / "contact-point"),
            "tor": {"network_directory": str(network)},
        },
    )


def reflector(directory: Path, network: Path, name: str, *, listen: str, advertise: str) -> Path:
    return write_toml(
        directory / f"{name}.toml",
        {
            "state_directory": str(directory / name),
            "udp_listen": listen,
            "udp_advertise": advertise,
            "tor": {"network_directory": str(network)},
        },
    )


def agent(
    directory: Path,
    network: Path,
    name: str,
    *,
    sip_listen: str,
    line_address: str,
    contact_point: str,
    reflectors: list[str],
    start_delay: float,
    staggered_teardown: float,
) -> Path:
    return write_toml(
        directory / f"{name}.toml",
        {
            "state_directory": str(directory / name),
            "name": name,
            "sip_listen": sip_listen,
            "line_address": line_address,
            "contact_points": [contact_point],
            "reflectors": reflectors,
            "tor": {"network_directory": str(network)},
            # Its passphrase would be known to everybody.
            "vault": {"sealed": False},
            "chaff": {"start_delay": start_delay, "staggered_teardown": staggered_teardown},
        },
    )
