"""The edge node's settings: the shared ones with the edge's port."""

from orchestrator.serving.settings import NodeSettings


class EdgeSettings(NodeSettings):
    """What an operator may say of an edge node."""

    default_port = 50051
