"""A whole stack under load whose parts are killed, stopped and starved, and what clients notice."""
