"""Every way in which a client, a server and a network can end a connection, walked by breadth-first search.

The explored objects are the `Session`s that connections run, with real frames between them. Only the network and the
clock are modelled (`network.py`), and what the driver knows beside the session (`side.py`). What must hold is written
down a second time, from the closing contract and without the table (`ghost.py`).

Theory. The sides meet nowhere but in the network, in chunks. So a side is explored by itself: `Nodes` keeps each of its
states once, and computes each of its steps once, on a real `Session`. What is left of the product of both sides and the
network is looking up numbers (`world.py`), and millions of worlds are a matter of seconds.
"""
