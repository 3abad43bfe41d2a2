"""A stack under steady load for hours: what grows, and whether answers get slower."""
