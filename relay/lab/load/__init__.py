"""A load for reflectors: many lines as their agents hold them, real cells at the real pace, and an eye on what comes.

`make bench` and `bayonne bench` measure with it; so do tests of floods.  It knows the keys of its own lines alone, and
sends nothing anywhere but to the loopback.
"""
