"""What keeps one failure from becoming many: retry budget, circuit breaker, limiter."""
