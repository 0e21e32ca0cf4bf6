"""One client per library: `python -m benchmarks.clients.NAME '{"port": 8765, …}'` talks to the neutral server."""
