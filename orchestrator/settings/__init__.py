"""The caller's settings: isthmus.yaml, and ISTHMUS_* in the environment."""
