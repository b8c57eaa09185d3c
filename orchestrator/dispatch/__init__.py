"""The caller's half of the way of a call: interceptors, then attempts within the deadline."""
