"""Log lines of a daemon: for people, or one JSON object a line for programs."""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from orchestrator.serving.failures import frames_of

Format = Literal["text", "json"]


def set_up_logging(level: str, form: Format) -> None:
    """Send all log records to standard error.

    Args:
        level: The least level that is shown, such as "info".
        form: "text" for people, "json" for programs.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _Lines(logging.Formatter):
    """One line a record. Of an exception its class and frames: its words may hold payloads."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error:
            said["exception"] = f"{type(error).__name__} at {frames_of(error)}"
        if self._form == "json":
            return json.dumps(said)
        told = "{timestamp} [{level:8}] {event} [{logger}]".format_map(said)
        return f"{told} exception={said['exception']}" if error else told


def log_lost_exceptions(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody awaited without its words: asyncio would print the exception itself."""

    def log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log where it came from."""
        error = context.get("exception")
        where = f"{type(error).__name__} at {frames_of(error)}" if error else "no exception"
        logging.getLogger("isthmus.node").error("%s: %s", context["message"], where)

    loop.set_exception_handler(log)
