"""The replica's peers: vLLM and HTTP."""
