"""One vLLM engine as one replica of a Ray Serve deployment: HTTP port, lease, load, drain."""
