"""The Autobahn TestSuite against our server and our client, and a record of that which every test run replays.

`nox -s autobahn` is the way in: it makes the Python 2.7 environment that the suite needs. Then `__main__.py` runs the
suite in both roles (`suite.py`) against two small programs (`echo.py`) and holds its verdicts to `expected.json`
(`cases.py`). To record, a relay stands between the two (`relay.py`); `recording.xz` is what it wrote (`recording.py`),
and `test_replay.py` plays the suite's half of it again.
"""
