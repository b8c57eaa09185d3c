"""Models: what a body calls, the folder that holds both forms, and the making of the forms."""
