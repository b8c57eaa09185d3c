"""The bridge: values to bytes and back, the guard before every channel, and the channels."""
