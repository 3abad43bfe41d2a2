"""Requests to vLLM's two front ends, and whether their answers mean the same."""
