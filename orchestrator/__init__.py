"""Isthmus: decorated functions that run at the edge or in the cloud, where each call should.

Everything a user imports stands here, and loads when it is first used; nothing inside the
library imports this file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.client import EdgeCloudOrchestrator as EdgeCloudOrchestrator
    from orchestrator.client import Orchestrator as Orchestrator
    from orchestrator.core import errors as errors
    from orchestrator.core.call import Result as Result
    from orchestrator.core.codecs import register_codec as register_codec
    from orchestrator.core.labels import Internal as Internal
    from orchestrator.core.labels import Labelled as Labelled
    from orchestrator.core.labels import Secret as Secret
    from orchestrator.core.labels import Sensitive as Sensitive
    from orchestrator.core.methods import method as method
    from orchestrator.decorators import cloud_service as cloud_service
    from orchestrator.decorators import edge_service as edge_service
    from orchestrator.models.tensor import TensorModel as TensorModel
    from orchestrator.models.text import TextEmbedding as TextEmbedding

_HOMES = {
    "EdgeCloudOrchestrator": "orchestrator.client",
    "Internal": "orchestrator.core.labels",
    "Labelled": "orchestrator.core.labels",
    "Orchestrator": "orchestrator.client",
    "Result": "orchestrator.core.call",
    "Secret": "orchestrator.core.labels",
    "Sensitive": "orchestrator.core.labels",
    "TensorModel": "orchestrator.models.tensor",
    "TextEmbedding": "orchestrator.models.text",
    "cloud_service": "orchestrator.decorators",
    "edge_service": "orchestrator.decorators",
    "errors": "orchestrator.core",
    "method": "orchestrator.core.methods",
    "register_codec": "orchestrator.core.codecs",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = import_module("orchestrator.core.errors") if name == "errors" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
