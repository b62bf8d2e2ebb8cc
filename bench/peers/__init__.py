"""Relays that others wrote, and the kernel alone: each set up, loaded like ours, and ended again."""
