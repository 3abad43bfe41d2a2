"""Logs and traces: how every process of Sluice writes what it did."""
