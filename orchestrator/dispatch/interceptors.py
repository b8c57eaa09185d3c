"""The onion around every call: each interceptor sees the call on its way in and the result out."""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from orchestrator.core.call import Call, Result

Next = Callable[[Call], Coroutine[Any, Any, Result[Any]]]
"""The rest of the way."""

Interceptor = Callable[[Call, Next], Awaitable[Result[Any]]]
"""Takes a call and the rest of the way; awaits it, or answers by itself."""


def wrap(innermost: Next, interceptors: Sequence[Interceptor]) -> Next:
    """Return the whole way: the first interceptor is the outermost."""
    way = innermost
    for interceptor in reversed(interceptors):
        way = functools.partial(_pass, interceptor, way)
    return way


async def _pass(interceptor: Interceptor, rest: Next, call: Call) -> Result[Any]:
    return await interceptor(call, rest)
