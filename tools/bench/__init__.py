"""Measurements, each one a command of `./sluice bench`."""
