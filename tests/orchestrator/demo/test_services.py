import numpy as np
import pytest

from orchestrator import Sensitive
from orchestrator.core.errors import PrivacyRefused
from orchestrator.demo import services
from orchestrator.demo.services import Cleaned, nearest
from orchestrator.testing import as_node
from policies.facts import Level

TOPICS = np.eye(3, dtype=np.float32)


def test_the_nearest_topic_is_the_one_with_the_largest_cosine() -> None:
    found = nearest(np.array([0.1, 0.9, 0.2], np.float32), TOPICS)
    assert found.topic == 1
    assert found.similarity == pytest.approx(0.9)


def test_cleaning_masks_personal_data_and_counts_it() -> None:
    with as_node("edge"):
        cleaned = services.clean.local(Sensitive("Write to ada@example.com\n or  +44 20 7946 0912"))
    assert isinstance(cleaned, Cleaned)
    assert "ada@example.com" not in cleaned.text
    assert "7946" not in cleaned.text
    assert cleaned.masked == {"email": 1, "phone": 1}
    assert "\n" not in cleaned.text


def test_a_raw_message_cannot_be_opened_in_the_cloud() -> None:
    with as_node("cloud"), pytest.raises(PrivacyRefused):
        services.clean.local(Sensitive("ada@example.com"))


def test_cleaning_never_leaves_the_edge_and_raw_messages_have_no_plain_way_to_the_cloud() -> None:
    assert not services.clean.spec.placement.allows("cloud")
    assert services.clean.spec.schema.level is Level.SENSITIVE
    assert services.embed.spec.schema.level is Level.PUBLIC
    assert services.embed_confidential.spec.schema.result.labelled


def test_what_may_be_repeated_is_declared_so_and_the_archive_is_not() -> None:
    kept = (services.clean, services.embed, services.embed_confidential, services.match)
    assert all(service.spec.idempotent for service in kept)
    assert not services.archive.spec.idempotent
