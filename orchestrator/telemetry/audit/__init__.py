"""The audit log on disk: a chain of entries, kept safe in groups, anchored elsewhere."""
