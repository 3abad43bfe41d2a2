"""Sluice beside its peers: the same simulated device, the same load, one stack after the other."""
