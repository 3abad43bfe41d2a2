"""Checks what the style guide says and other programs do not check; run as a test."""
