"""Thousands of connections between processes, opened and ended in random ways, and a judge who compares both ends."""
