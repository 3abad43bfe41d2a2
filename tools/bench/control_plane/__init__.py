"""What router-config costs: everything applied to an empty HAProxy, and one change after that."""
