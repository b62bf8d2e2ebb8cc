"""How the tables came to be, step by step and back; `relay.contact_cache.database` walks them when it opens.

The steps travel with the package, so that an installed copy brings its own database up to date.  Alembic's ways:
`env.py` runs what stands in `versions/`, in the order in which each names the one before it.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

NEWEST = "head"
EMPTY = "base"

_LOCK = 0x62766572
"""Any number that no other program uses with this database."""


def migrate(connection: Connection, target: str = NEWEST) -> None:
    """Bring the tables up, or down, to a step, all in the transaction that `connection` is in.

    Raises what SQLAlchemy raises, and `alembic.util.CommandError` where the database is newer than this package.
    """
    if connection.dialect.name == "postgresql":
        # Two programs of a cluster that start at once: the second waits and finds nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    settings = Config()
    # The settings are an ini file, in which a per cent sign must be doubled.
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.attributes["connection"] = connection
    settings.attributes["target"] = target
    if target == EMPTY or target.startswith("-"):
        command.downgrade(settings, target)
    else:
        command.upgrade(settings, target)
