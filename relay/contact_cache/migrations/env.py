"""Runs steps on the connection that `migrate` hands over; Alembic loads this file by its path."""

from alembic import context

from relay.contact_cache.tables import metadata

# SQLite takes table definitions back like anything else, as long as nothing commits in between: so all steps or none.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
