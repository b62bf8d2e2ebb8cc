"""A whole call on one machine: every role a process, two real softphones, an observer on each line.

Implements DESIGN.md section 8 for `bayonne demo`.  Must never be a way for one role to learn what another
knows: roles are configured by files, watched through the events they print, and otherwise left alone.
"""

from relay.lab.demo.failure import DemoFailed
from relay.lab.demo.options import DemoOptions
from relay.lab.demo.run import run_demo

__all__ = ["DemoFailed", "DemoOptions", "run_demo"]
