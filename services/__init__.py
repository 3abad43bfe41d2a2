"""The three services: built, tested and released separately; they meet only on NATS."""
