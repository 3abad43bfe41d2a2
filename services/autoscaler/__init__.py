"""Decides how many replicas each model has and has Ray Serve keep them."""
