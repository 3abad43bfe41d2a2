"""What Prometheus asks for: metrics, and where to find more of them."""
