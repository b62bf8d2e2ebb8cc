"""The one way in which the demo fails."""

from relay.core import BayonneError


class DemoFailed(BayonneError):
    """The demo did not come to its end, or a figure missed its target; the message says where to look."""
