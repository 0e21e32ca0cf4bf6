"""Fuzzing: what no peer would send, for as long as one likes. `nox -s fuzz -- SECONDS`."""
