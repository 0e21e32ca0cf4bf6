"""Floor 1: the protocol, sans-IO. Nothing in here imports trio, opens a socket or reads a clock."""
