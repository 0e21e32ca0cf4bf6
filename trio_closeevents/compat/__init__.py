"""Stand-ins for other libraries: a program changes one import, and has the endings of this one."""

__all__: list[str] = []  # each has a module of its own: `trio_closeevents.compat.trio_websocket`
