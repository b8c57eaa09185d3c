"""What users import is pinned: a name comes or goes on purpose only."""

import pytest

import orchestrator

NAMES = [
    "EdgeCloudOrchestrator",
    "Internal",
    "Labelled",
    "Orchestrator",
    "Result",
    "Secret",
    "Sensitive",
    "TensorModel",
    "TextEmbedding",
    "cloud_service",
    "edge_service",
    "errors",
    "method",
    "register_codec",
]


def test_the_face_has_these_names() -> None:
    assert sorted(orchestrator.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there(name: str) -> None:
    assert getattr(orchestrator, name) is getattr(orchestrator, name)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Orchestra'"):
        orchestrator.Orchestra  # noqa: B018
