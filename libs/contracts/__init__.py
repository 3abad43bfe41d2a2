"""What services say to each other: ids, subjects, leases, specs and events.

Standard library only. The wire format (JSON) is made in `libs/bus/codec.py`.
"""
