"""Replicas that join and leave under streaming load, and what their clients feel."""
