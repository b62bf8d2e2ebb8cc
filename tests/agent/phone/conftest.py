"""The scripted phone for every test beside it."""

import sys
from pathlib import Path

# Test directories are no packages: what they share is found by its place.
sys.path.insert(0, str(Path(__file__).parent))
