"""What keeps the project in order: set-up, the import rules, sample configuration, service units."""
