import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestrator.serving.logs import set_up_logging

log = logging.getLogger("isthmus.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""  # standard output belongs to what was asked for
    return captured.err.splitlines()


def test_json_is_one_object_a_line_whatever_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("info", "json")
    log.info("two\nlines of %s", "text")
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    first, second = map(json.loads, lines(capsys))
    assert first["event"] == "two\nlines of text"
    assert (first["level"], first["logger"]) == ("info", "isthmus.test")
    assert first["timestamp"].endswith("Z")
    assert "KeyError" in second["exception"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "text")
    log.warning("node %s is %s", "edge-1", "ready")
    (line,) = lines(capsys)
    assert "node edge-1 is ready" in line
    assert "warning" in line
    assert "isthmus.test" in line
    assert "\x1b[" not in line  # no colours where nobody looks


def test_only_the_asked_level_and_above_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("warning", "json")
    log.info("hidden")
    log.error("shown")
    assert [json.loads(line)["event"] for line in lines(capsys)] == ["shown"]


def test_setting_up_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "text")
    set_up_logging("info", "json")
    log.info("once")
    assert len(lines(capsys)) == 1


CANARY = "canary-5d1c"

STRAY = """
import asyncio, logging, sys
from orchestrator.serving.logs import log_lost_exceptions, set_up_logging

async def job(secret):
    raise ValueError(secret)

async def main():
    log_lost_exceptions(asyncio.get_running_loop())
    asyncio.create_task(job("canary-5d1c"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

set_up_logging("info", sys.argv[1])
try:
    secret = "canary-5d1c"
    raise KeyError(secret)
except KeyError:
    logging.getLogger("of.a.user").exception("oops")
asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_logged_by_class_and_frames_and_never_by_its_words(form: str) -> None:
    command = [sys.executable, "-c", STRAY, form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert CANARY not in done.stderr
    assert "KeyError at <string>:" in done.stderr
    assert "ValueError at <string>:" in done.stderr
