"""vLLM behind the replica's ports. Importing `host` loads vLLM, which takes seconds."""
