"""Every error a user can meet.

OrchestratorError
├── DefinitionError         a decorator was given something it cannot serve
├── SettingsError           a setting, a file or a flag is wrong
├── UsageError              the API was used in a way that cannot work
└── CallError               one call failed
    ├── InvalidInput        the arguments do not fit the signature
    ├── AccessDenied        the node does not know the caller, or refuses it
    ├── NoRoute             no endpoint passed the filters
    │   └── PrivacyRefused  the label is above every clearance
    ├── DeadlineExceeded    the time is up
    ├── Cancelled           the call was given up
    ├── Overloaded          no room, at the caller or at the node
    ├── EndpointUnavailable the node cannot be reached or does not serve this
    │   └── CircuitOpen     the node failed too often lately
    ├── OutcomeUnknown      the call may have run; it is not idempotent, so it was not repeated
    ├── ModelUnavailable    a model is missing, damaged or not loaded
    ├── AuditUnavailable    the audit log cannot be written, and the call is labelled
    ├── ServiceFailed       the service's own code raised
    └── WireError           the bytes on the wire make no sense
"""

from typing import ClassVar, Literal

from policies.facts import Decision

Retry = Literal["never", "idempotent", "always"]
"""May another endpoint be tried: never, only if the service is idempotent, or always."""


class OrchestratorError(Exception):
    """The root of all errors of the library."""


class DefinitionError(OrchestratorError):
    """A decorator was given something that cannot be served."""


class SettingsError(OrchestratorError):
    """A setting, a settings file or a command-line flag is wrong."""


class UsageError(OrchestratorError):
    """The API was used in a way that cannot work, such as blocking inside a running loop."""


class CallError(OrchestratorError):
    """One call failed.

    Attributes:
        code: The name of the error on the wire.
        public: The fixed sentence that strangers see instead of the message.
        retry: Whether another endpoint may be tried.
        retryable: Whether the same call may succeed later, so that a caller may repeat it.
        call_id: The call, where known.
        node: The node that failed, where known.
        shareable: Whether the message is made of names, types and sizes alone, so that it may
            travel to the caller beside the fixed sentence.
    """

    code: ClassVar[str] = "CALL_ERROR"
    public: ClassVar[str] = "The call failed."
    retry: Retry = "never"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str = "", *, call_id: str = "", node: str = "", shareable: bool = False
    ) -> None:
        super().__init__(message or self.public)
        self.call_id = call_id
        self.node = node
        self.shareable = shareable


class InvalidInput(CallError):
    """The arguments do not fit the service's signature; nothing was sent or run."""

    code = "INVALID_INPUT"
    public = "The arguments do not fit the service's signature."


class AccessDenied(CallError):
    """The node does not know the caller, or does not let it do this."""

    code = "ACCESS_DENIED"
    public = "The caller may not do this."


class NoRoute(CallError):
    """No endpoint passed the filters; the decision tells why, for each endpoint.

    Attributes:
        decision: The decision that found no candidate, where there was one.
    """

    code = "NO_ROUTE"
    public = "No endpoint can take the call."
    retry: Retry = "always"
    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        call_id: str = "",
        node: str = "",
        shareable: bool = False,
        decision: Decision | None = None,
    ) -> None:
        super().__init__(message, call_id=call_id, node=node, shareable=shareable)
        self.decision = decision


class PrivacyRefused(NoRoute):
    """The data's label is above the clearance of every place it could go to."""

    code = "PRIVACY_REFUSED"
    public = "The data may not go there."
    retry: Retry = "never"
    retryable = False


class DeadlineExceeded(CallError):
    """The call's time is up; a sent call may still have run."""

    code = "DEADLINE_EXCEEDED"
    public = "The deadline passed before the call was answered."
    retryable = True


class Cancelled(CallError):
    """The call was given up before it was answered."""

    code = "CANCELLED"
    public = "The call was cancelled."


class Overloaded(CallError):
    """There was no room for the call; it did not run."""

    code = "OVERLOADED"
    public = "There is no room for the call at present."
    retry: Retry = "always"
    retryable = True


class EndpointUnavailable(CallError):
    """The node could not be reached, went away, or does not serve what was asked.

    Args:
        message: What happened, and the cure.
        sent: Whether the call may have reached the node, and so may have run.
        call_id: The call, where known.
        node: The node, where known.
        shareable: Whether the message may travel; see `CallError`.
    """

    code = "ENDPOINT_UNAVAILABLE"
    public = "The node is not available."
    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        sent: bool = False,
        call_id: str = "",
        node: str = "",
        shareable: bool = False,
    ) -> None:
        super().__init__(message, call_id=call_id, node=node, shareable=shareable)
        self.sent = sent
        self.retry = "idempotent" if sent else "always"


class CircuitOpen(EndpointUnavailable):
    """The node failed too often lately, so nothing was sent."""

    code = "CIRCUIT_OPEN"
    public = "The node failed repeatedly and is being left alone for a while."


class OutcomeUnknown(CallError):
    """The call was sent and no answer came; it may have run.

    Declare the service `idempotent=True` if running it twice does no harm: then such a call
    is tried elsewhere instead.
    """

    code = "OUTCOME_UNKNOWN"
    public = "The call was sent and its outcome is not known."


class ModelUnavailable(CallError):
    """A model is not in the store, is damaged, or is not loaded on this node."""

    code = "MODEL_UNAVAILABLE"
    public = "The model is not available on this node."
    retry: Retry = "always"


class AuditUnavailable(CallError):
    """The audit log cannot be written, so nothing was done with the labelled data.

    The log of the process that keeps it names the cause and the cure. Public calls go on.
    """

    code = "AUDIT_UNAVAILABLE"
    public = "The audit log cannot be written, so labelled data is refused."
    retry: Retry = "always"
    retryable = True


class ServiceFailed(CallError):
    """The service's own code raised.

    In process `__cause__` is the original exception; over a network only its class travels.

    Attributes:
        exception: The name of the exception's class.
    """

    code = "SERVICE_FAILED"
    public = "The service raised an exception."

    def __init__(
        self,
        message: str = "",
        *,
        exception: str = "",
        call_id: str = "",
        node: str = "",
        shareable: bool = False,
    ) -> None:
        super().__init__(message, call_id=call_id, node=node, shareable=shareable)
        self.exception = exception


class WireError(CallError):
    """The bytes of a message make no sense, or a message is too large for the wire."""

    code = "WIRE_ERROR"
    retry: Retry = "idempotent"
    public = "The message could not be understood."
