"""Measure what the product does: captures of its lines, sound at both ears, pictures, a whole call.

Implements no protocol; runs the shipped code and looks at it from outside (DESIGN.md sections 6 and 8).
Must never be needed by a daemon: nothing below this package imports it.
"""
