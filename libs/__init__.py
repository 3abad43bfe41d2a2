"""Libraries that the services share; none of them runs by itself."""
