"""The peers of router-config: HAProxy, its span log, the bus."""
