import asyncio
import sys
from importlib.util import find_spec

import pytest

from orchestrator.serving.loops import name_of, run_on_loop


async def found() -> str:
    return name_of(asyncio.get_running_loop())


def test_without_uvloop_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # whoever imports it fails
    assert run_on_loop(found()) == "asyncio"


@pytest.mark.skipif(not find_spec("uvloop"), reason="uvloop is not installed")
def test_with_uvloop_the_loop_is_uvloops() -> None:
    assert run_on_loop(found()) == "uvloop"


def test_an_error_of_the_work_comes_out() -> None:
    async def failing() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_on_loop(failing())
