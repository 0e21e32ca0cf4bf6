"""A chat in the browser: `python -m examples.chat`, then open the page in two windows.

Close a tab, pull the plug, restart the server: everybody sees in plain words how each connection ended.
"""
