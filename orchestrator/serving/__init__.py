"""The node core that both daemons share, and that an embedded orchestrator runs in process."""
