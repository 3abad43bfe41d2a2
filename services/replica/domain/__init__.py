"""What a replica decides: its life and its load, as functions of values."""
