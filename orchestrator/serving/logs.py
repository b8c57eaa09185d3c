"""Log lines of a daemon: for people, or one JSON object a line for programs."""

import logging
import sys
from typing import Literal

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
    ]
    last: Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
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
