"""How connections end with the libraries for trio: what travels, as a scripted peer on a real socket sees it.

Theory. A scene has two halves: what the program does, the same for all libraries, in a process of its own; and what the
scripted peer does, which knows no library and writes down the bytes that arrive. Whoever has not ended after `LIMIT`
seconds is killed, and that is a result like any other: every timeout that a library has is a fraction of it.
"""
