"""Runs both of vLLM's front ends for the conformance suite."""
