"""The demo: every row of the closing contract, played against raw peers on real sockets."""
