"""When cells and lines come and go: pure policies that the agent, the reflector and the lab run alike.

DESIGN.md section 6.  Must never tell speech from silence: nothing here is ever given a cell's content.
Presence windows, decoy lines and the data budget belong here and are not built yet.
"""

from relay.chaff.delay import StaggeredTeardown, StartDelay
from relay.chaff.pace import Pace
from relay.chaff.scatter import Scatter

__all__ = ["Pace", "Scatter", "StaggeredTeardown", "StartDelay"]
