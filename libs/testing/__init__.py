"""Fakes with behaviour and launchers of real peers, for tests only."""
