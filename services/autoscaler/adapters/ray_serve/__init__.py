"""Ray Serve through the REST API of the Ray dashboard."""
