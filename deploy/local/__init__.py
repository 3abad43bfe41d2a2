"""One machine: what runs there and how it is configured."""
