"""What the edge costs: CPU per request of HAProxy with Sluice's rules against a plain one."""
