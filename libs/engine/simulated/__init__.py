"""A device that only takes time, for vLLM: everything above the worker is real."""
