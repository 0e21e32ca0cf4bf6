"""Measurements of trio-closeevents beside other libraries: `python -m benchmarks`; README.md tells how."""
