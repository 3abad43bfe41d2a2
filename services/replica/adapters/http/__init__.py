"""The replica's HTTP port: what stands between uvicorn and vLLM's own application."""
