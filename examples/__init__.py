"""Programs that show the library at work; each says in its docstring how to run it."""
