"""What a routing policy does to the replicas' prefix caches, measured on a replayed trace."""
