"""router-config: keeps one HAProxy equal to what the replicas say of themselves."""
