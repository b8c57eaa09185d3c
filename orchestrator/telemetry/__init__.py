"""What the library tells of itself, apart from logs and counters: the audit log."""
