"""Log lines of a daemon: for people, or one JSON object a line for programs."""

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.serving.failures import frames_of

if TYPE_CHECKING:
    from structlog.types import EventDict

Format = Literal["text", "json"]


def set_up_logging(level: str, form: Format) -> None:
    """Send all log records to standard error.

    Args:
        level: The least level that is shown, such as "info".
        form: "text" for people, "json" for programs.
    """
    import structlog
    from structlog.types import Processor

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_words,
    ]
    last: Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if form == "json":
        last = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def log_lost_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody awaited without its words: asyncio would print the exception itself."""

    def log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log where it came from."""
        error = context.get("exception")
        where = f"{type(error).__name__} at {frames_of(error)}" if error else "no exception"
        logging.getLogger("isthmus.node").error("%s: %s", context["message"], where)

    loop.set_exception_handler(log)


def _without_words(logger: object, method: str, event: "EventDict") -> "EventDict":
    """Keep an exception's class and frames: its message and its locals may hold payloads."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = f"{type(error).__name__} at {frames_of(error)}"
    return event
