"""Engines run graphs. Each is a module of its own and is imported only when it is chosen."""
