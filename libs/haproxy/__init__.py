"""HAProxy as a program: its binary, its configuration text and its runtime API."""
