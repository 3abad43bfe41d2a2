"""How long an engine goes on after its client has left: HAProxy, a replica's HTTP layer, vLLM."""
