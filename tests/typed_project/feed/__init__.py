"""A feed of prices: a server, a client that stays connected, and their tests."""
