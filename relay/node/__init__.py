"""What operators run: the apps of the reflector and of the contact point, each wired from its layers.

DESIGN.md sections 3 and 7.  Must never learn who its users are: nothing but keys of its own is kept.
"""
