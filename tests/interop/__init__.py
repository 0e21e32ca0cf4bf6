"""Interoperation: other libraries at the other end, in another process, telling by their own API what they saw."""
