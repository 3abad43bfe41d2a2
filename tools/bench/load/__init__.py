"""A load generator for OpenAI-compatible servers: `./sluice bench load`.

Pure: plan, lengths, arrivals, traces, prompts, request_codec, sse, exchange, samples, statistics,
verdict. I/O: connection, driver, worker, run, probe. For people: options, display, plots, command.
"""
