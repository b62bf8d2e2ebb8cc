"""Speed, shown side by side with peers in the same run; never asserted in tests."""
