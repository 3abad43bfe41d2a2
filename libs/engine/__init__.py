"""What turns a model spec into a running vLLM engine: sources, the default model, the platform."""
