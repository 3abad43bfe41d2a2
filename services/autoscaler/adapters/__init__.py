"""The autoscaler's peers."""
