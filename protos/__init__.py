"""The wire's messages: .proto files and the Python generated from them."""
