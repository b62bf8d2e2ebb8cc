"""`python -m relay.cli`, the same as `bayonne`."""

from relay.cli.main import main

main()
