"""Tests of `trio_closeevents.adapters`."""
