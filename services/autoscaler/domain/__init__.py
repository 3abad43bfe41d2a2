"""Decisions as pure functions: targets, Serve applications, and what is done."""
