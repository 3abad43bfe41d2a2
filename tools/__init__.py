"""Programs for people: the command line, benchmarks, trace analysis, build rules."""
