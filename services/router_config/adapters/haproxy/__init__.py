"""HAProxy as an edge: its runtime API, its files and its program."""
