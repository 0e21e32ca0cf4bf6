"""One echo server per library: `python -m benchmarks.servers.NAME` prints its port and runs until it is stopped.

All have compression and keepalive off, take messages of 1 MiB, and leave everything else as their library has it. With
`--broadcast` every message goes to all connections. SIGTERM stops a server the way its library means it.
"""
