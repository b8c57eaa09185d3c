import copy
import pickle
import re

import pytest

from orchestrator.core import errors
from orchestrator.core.errors import (
    CallError,
    CircuitOpen,
    EndpointUnavailable,
    InvalidInput,
    NoRoute,
    OrchestratorError,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
    WireError,
)
from policies.facts import CallFacts, Decision, Label, Placement


def below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(found for child in kind.__subclasses__() for found in below(child))]


TREE = [kind for kind in below(OrchestratorError) if kind.__module__ == errors.__name__]
CALL_ERRORS = [kind for kind in TREE if issubclass(kind, CallError)]


def drawn() -> dict[str, str]:
    """Return each error that the module's picture shows, and the one above it."""
    above: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if not (found := re.match(r"([│ ├└─]*)([A-Z]\w+)(?: |$)", line)):
            continue
        depth, name = len(found[1]) // 4, found[2]
        if depth or name == "OrchestratorError":
            path[depth:] = [name]
            above[name] = path[depth - 1] if depth else "Exception"
    return above


def test_the_picture_of_the_tree_is_the_tree() -> None:
    assert drawn() == {kind.__name__: kind.__mro__[1].__name__ for kind in TREE}


def test_every_call_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in CALL_ERRORS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_an_error_without_words_says_its_public_sentence(kind: type[CallError]) -> None:
    assert str(kind()) == kind.public
    assert kind.public.endswith(".")


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_no_message_travels_unless_it_was_made_to(kind: type[CallError]) -> None:
    assert not kind("the message").shareable


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_an_error_survives_copy_and_pickle(kind: type[CallError]) -> None:
    error = kind("the words", call_id="c1", node="n1", shareable=True)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin)) == (kind, "the words")
        assert (twin.call_id, twin.node, twin.shareable) == ("c1", "n1", True)
        assert twin.retry == error.retry


def test_what_was_certainly_not_sent_may_always_be_tried_elsewhere() -> None:
    assert EndpointUnavailable("gone").retry == "always"
    assert CircuitOpen().retry == "always"
    assert Overloaded().retry == NoRoute().retry == "always"


def test_what_may_have_run_is_repeated_only_if_that_does_no_harm() -> None:
    assert EndpointUnavailable("gone", sent=True).retry == "idempotent"
    assert CircuitOpen(sent=True).retry == "idempotent"
    assert WireError().retry == "idempotent"


def test_what_another_node_would_refuse_too_is_not_tried_again() -> None:
    assert InvalidInput().retry == ServiceFailed().retry == PrivacyRefused().retry == "never"
    assert NoRoute.retryable
    assert not PrivacyRefused.retryable


def test_one_error_that_was_sent_does_not_change_the_next() -> None:
    EndpointUnavailable("gone", sent=True)
    assert EndpointUnavailable("gone").retry == "always"


def test_a_call_without_a_route_tells_why() -> None:
    decision = Decision(CallFacts("embed", "v1", Label(), Placement("edge"), 0, 1.0), (), ())
    assert PrivacyRefused("refused", decision=decision).decision is decision
    assert NoRoute().decision is None


def test_every_error_of_the_library_can_be_caught_at_once() -> None:
    assert all(issubclass(kind, OrchestratorError) for kind in TREE)
    assert {kind.__name__ for kind in TREE} >= {"DefinitionError", "SettingsError", "UsageError"}
