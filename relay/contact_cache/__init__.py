"""What a contact point keeps of records, and how it finds them again.

DESIGN.md section 5: one contact point keeps them in SQLite; the same tables serve in PostgreSQL. Must never
learn whose a record is: rows hold what the sealed record shows on its outside, and no address or time of
arrival. Of other contact points, which nobody asked for, it is counted how much is here.
"""

from relay.contact_cache.asks import Ask, AskDigests, AskPeers, AskSummary, AskWanted
from relay.contact_cache.entry import Entry, Outcome, Row, Summary
from relay.contact_cache.host_cache import ROUND, VISITORS, HostCache, PlannedPull, PullOutcome
from relay.contact_cache.pull_budget import PullBudget
from relay.contact_cache.search import Found, Listing, ListingIndex
from relay.contact_cache.storage import SqlEntryStore
from relay.contact_cache.synchronisation import PULL_COUNTS, Declined, Puller

__all__ = [
    "PULL_COUNTS",
    "ROUND",
    "VISITORS",
    "Ask",
    "AskDigests",
    "AskPeers",
    "AskSummary",
    "AskWanted",
    "Declined",
    "Entry",
    "Found",
    "HostCache",
    "Listing",
    "ListingIndex",
    "Outcome",
    "PlannedPull",
    "PullBudget",
    "PullOutcome",
    "Puller",
    "Row",
    "SqlEntryStore",
    "Summary",
]
