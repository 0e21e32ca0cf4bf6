"""The load client: raw sockets, frames encoded beforehand, no event loop but `epoll`; a process of its own.

    python -m benchmarks.load '{"kind": "pipelined", "port": 8765, …}'

It prints one JSON object: the figure and what stands behind it. It is the same for every library.
"""
