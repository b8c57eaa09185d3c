"""The cloud node: a daemon that runs models in full precision with PyTorch."""
