"""What a failed body becomes: class, node and call for the caller; frames for the node's log."""

import asyncio
import logging
import traceback

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    InvalidInput,
    PrivacyRefused,
    ServiceFailed,
)
from orchestrator.core.spec import ServiceSpec
from orchestrator.serving.registry import Served

_log = logging.getLogger("isthmus.node")


def body_failed(call: Call, served: Served, error: BaseException) -> CallError:
    """Return the error of a call whose body raised.

    The message of the exception goes nowhere, for it may hold the caller's data; words of our
    own errors, made of names and types, do.
    """
    if isinstance(error, DeadlineExceeded):
        return DeadlineExceeded()
    if isinstance(error, InvalidInput) and served.declaration.model:
        return InvalidInput(str(error), shareable=error.shareable)
    kind, spec = type(error).__name__, served.spec
    if isinstance(error, CallError):  # of a call that the body made: its own node has the frames
        _log.error("%s failed in call %s: %s", spec.name, call.id, kind)
    else:
        _log.error("%s failed in call %s: %s at %s", spec.name, call.id, kind, frames_of(error))
    said = f"{kind} in {spec.name}"
    if isinstance(error, PrivacyRefused) and not error.shareable:
        said += ": the label of what it calls is above every clearance there"
        return ServiceFailed(said, exception=kind, shareable=True)
    if isinstance(error, CallError) and error.shareable:
        return ServiceFailed(f"{said}: {error}", exception=kind, shareable=True)
    return ServiceFailed(f"{said}; the node's log has the frames", exception=kind)


def result_failed(spec: ServiceSpec, value: object, error: CallError) -> ServiceFailed:
    """Return the error of a call whose result does not fit its annotation."""
    return ServiceFailed(
        f"{spec.name} gave a {type(value).__name__} that is no {spec.schema.result.text}",
        exception=type(error).__name__,
        shareable=True,
    )


def frames_of(error: BaseException) -> str:
    """Return where an exception came from, innermost first, without its words."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def came_from_outside(error: BaseException) -> bool:
    """Say whether the call was given up, rather than the body having raised this itself."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task and task.cancelling()
    return bool(cancelled) or isinstance(error, GeneratorExit)
