"""How each stack of the comparison is started and stopped."""
