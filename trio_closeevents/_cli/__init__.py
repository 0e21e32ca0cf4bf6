"""The command line: `python -m trio_closeevents`, or `trio-closeevents`. A guest on the public API.

Needs `click` and `rich`, which are in the extra `cli`. One file per command; what several of them need stands beside.
"""
