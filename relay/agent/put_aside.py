"""What is damaged, put aside before something whole takes its place: its owner may want to look at it, or mend it.

Prekeys are not put aside: they have their days, and are destroyed (`relay.agent.sealed_files`).
"""

from pathlib import Path

from relay.agent.kept import NotKept
from relay.core import rename_for_good

ASIDE = ".damaged"
"""The ending of what was put aside; a number follows where there is more than one."""
MOST_ASIDE = 100
"""Of one file."""


def put_aside(path: Path) -> Path:
    """Where it is now.  Raises `NotKept` rather than lose it."""
    for number in range(MOST_ASIDE):
        aside = path.with_name(f"{path.name}{ASIDE}{number or ''}")
        if not aside.exists():
            try:
                rename_for_good(path, aside)
            except OSError as error:
                raise NotKept(f"what is damaged cannot be put aside ({error.strerror})") from None
            return aside
    raise NotKept("the vault is damaged again and again; look at its disk")


def put_aside_of(path: Path) -> list[Path]:
    """What was put aside of a file, or of all in a directory where that is one."""
    if path.is_dir():
        return sorted(path.glob(f"*{ASIDE}*"))
    return sorted(path.parent.glob(f"{path.name}{ASIDE}*"))
