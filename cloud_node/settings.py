"""The cloud node's settings: the shared ones with the cloud's port."""

from orchestrator.serving.settings import NodeSettings


class CloudSettings(NodeSettings):
    """What an operator may say of a cloud node."""

    default_port = 50052
