"""How well it sounds, what it costs, how late it is: `make quality`.  Real speech, shipped code, a modelled path."""
