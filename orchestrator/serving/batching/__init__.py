"""One model, many callers: which rows run together, when, and in which threads."""
