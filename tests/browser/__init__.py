"""Tests in a browser: `nox -s browser`, or `python -m pytest tests/browser`. They need Chromium; other sessions leave
them out.
"""
