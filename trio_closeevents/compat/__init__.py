"""Stand-ins for other libraries: a program changes one import, and has the endings of this one."""
