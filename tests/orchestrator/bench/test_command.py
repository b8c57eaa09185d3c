import json
import os
import subprocess
import sys
from pathlib import Path


def isthmus(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", "bench", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=os.environ,
    )


def test_a_short_run_gives_data_files_and_the_reason_of_a_missing_peer(tmp_path: Path) -> None:
    told = ["--rounds", "1", "--seconds", "0.05", "--peers", "fastapi", "--out", "out", "--json"]
    ended = isthmus("streaming", *told, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (data,) = json.loads(ended.stdout)
    assert "there is no" in data["absent"]["fastapi"]
    ways = {row["way"] for row in data["rows"]}
    assert {
        "bare grpc.aio",
        "bare grpc sync",
        "isthmus, session over TCP",
        "isthmus, in process",
    } <= ways
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"streaming.{kind}" for kind in ("json", "csv", "png", "md")}
    again = "isthmus bench streaming --rounds 1 --seconds 0.05 --peers fastapi"
    assert again in (tmp_path / "out/streaming.md").read_text()


def test_wrong_words_end_with_2_before_anything_is_measured(tmp_path: Path) -> None:
    for arguments, said in (
        (["speed"], "there is no suite 'speed'"),
        (["--peers", "vllm"], "there is no peer 'vllm'"),
        (["--rounds", "0"], "--rounds"),
    ):
        ended = isthmus(*arguments, cwd=tmp_path)
        assert ended.returncode == 2, ended.stderr
        assert said in ended.stderr


def test_a_suite_whose_model_is_missing_names_the_command_that_adds_it(tmp_path: Path) -> None:
    ended = isthmus("batching", "--peers", "none", cwd=tmp_path)
    assert ended.returncode == 1
    assert "isthmus models add minilm" in ended.stderr
