"""One stack on this machine: its files, ports, processes, start and stop."""
