"""What is checked of an app before it is ready: that its data may go where its services run."""

from orchestrator.core.errors import DefinitionError
from orchestrator.core.spec import Declaration
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.wire.security import is_local
from policies.facts import Level


def check_clearances(declarations: list[Declaration], endpoints: list[Endpoint]) -> None:
    """Raise DefinitionError if a service takes data that no node it may use is cleared for."""
    for declaration in declarations:
        spec = declaration.spec
        open_to = [e.options for e in endpoints if spec.runs_on(e.options.tier)]
        needed = spec.schema.level
        if spec.privacy == "pseudonymise":  # what it may not send as it is becomes internal
            needed = min(needed, Level.INTERNAL)
        if open_to and all(node.clearance.level < needed for node in open_to):
            nodes = ", ".join(f"{node.name} has {node.clearance}" for node in open_to)
            raise DefinitionError(
                f"{spec.name} takes {spec.schema.level.name.lower()} data and runs on the "
                f"{spec.placement}, where {nodes}: let it run on a cleared tier with fallback= or "
                f"overflow=, declassify the data first, or {_cure(open_to)}"
            )


def _cure(nodes: list[EndpointOptions]) -> str:
    """Say how one of these nodes gets a clearance; a far one keeps none without TLS."""
    cure = "raise a node's clearance in the settings"
    if any(node.clearance.level is Level.PUBLIC and not is_local(node.address) for node in nodes):
        cure += " and give it TLS: plaintext beyond this machine is public, whatever they say"
    return cure
