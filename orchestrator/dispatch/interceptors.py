"""The onion around every call: each interceptor sees the call on its way in and the result out."""

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from orchestrator.core.call import Call, Result
from orchestrator.core.errors import CallError

Next = Callable[[Call], Coroutine[Any, Any, Result[Any]]]
"""The rest of the way."""

Interceptor = Callable[[Call, Next], Awaitable[Result[Any]]]
"""Takes a call and the rest of the way; awaits it, or answers by itself."""

_log = logging.getLogger("isthmus.caller")


def wrap(innermost: Next, interceptors: Sequence[Interceptor]) -> Next:
    """Return the whole way: the first interceptor is the outermost."""
    way = innermost
    for interceptor in reversed(interceptors):
        way = functools.partial(_pass, interceptor, way)
    return way


async def _pass(interceptor: Interceptor, rest: Next, call: Call) -> Result[Any]:
    return await interceptor(call, rest)


async def log_calls(call: Call, rest: Next) -> Result[Any]:
    """Log where each call went: ids, names and times, never a payload; errors are the caller's."""
    try:
        result = await rest(call)
    except CallError as error:
        _log.info("%s call %s: %s (%s)", call.service, call.id, error.code, error.node or "-")
        raise
    _log.debug(
        "%s call %s ran on %s in %.1f ms", call.service, call.id, result.node, result.total_ms
    )
    return result
