"""What lives in Redis and can be rebuilt: the live bus and the rate limits."""
