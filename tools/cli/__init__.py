"""`./sluice`: the command line."""
