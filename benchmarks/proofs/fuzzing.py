"""Coverage-guided fuzzing with atheris: `python -m benchmarks.proofs.fuzzing TARGET FOLDER`.

What it finds is kept in tests/proof/corpus, one input a line in hexadecimal digits, and given
to the same targets by the tests, which need no atheris.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress

CORPUS = Path(__file__).parents[2] / "tests" / "proof" / "corpus"
FULL_SECONDS = 300

_LONGEST = 4096
_MIB = 512
_MOST_KEPT = 60
TARGETS = ("messages", "frames", "bodies", "caller", "node")
PLANTED = {
    "planted crash": "unpack_from",
    "planted allocation": "bytes taken",
    "planted leak": "left behind",
}
"""What the fuzzer must say of each bug that was planted."""

CONTROL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the fuzzer did."""

    target: str
    inputs: int
    covered: int
    failure: str


def known_inputs(target: str) -> list[bytes]:
    """Return what was found or made by hand for a target, beside its own seeds."""
    file = CORPUS / f"{target}.hex"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Write inputs down for the tests, the short ones first and not too many."""
    CORPUS.mkdir(exist_ok=True)
    kept = sorted(set(inputs), key=lambda data: (len(data), data))[:_MOST_KEPT]
    (CORPUS / f"{target}.hex").write_text("".join(f"{data.hex()}\n" for data in kept if data))


def fuzz(target: str, seconds: int, progress: Progress = no_progress) -> Run:
    """Run the fuzzer in a process of its own, which a crash ends."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "corpus"
        folder.mkdir()
        for number, data in enumerate(known_inputs(target)):
            (folder / f"known-{number}").write_bytes(data)
        flags = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-rss_limit_mb={_MIB}"]
        flags += ["-timeout=20", "-print_final_stats=1", f"-artifact_prefix={place}/found-"]
        said = _run(target, folder, flags, seconds, progress)
        culprits = [path.read_bytes().hex() for path in Path(place).glob("found-*")]
    units = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    inputs, places = (int(numbers[-1]) if numbers else 0 for numbers in (units, covered))
    failure = f"{_last_words(said)}: {culprits[0]}" if culprits else ""
    return Run(target, inputs, places, failure or ("" if units else said[-2000:]))


def _run(target: str, folder: Path, flags: list[str], seconds: int, progress: Progress) -> str:
    command = [sys.executable, "-m", "benchmarks.proofs.fuzzing", target, str(folder), *flags]
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        told, began = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.5)
            now = min(int(time.monotonic() - began), seconds)
            progress(now - told)
            told = now
        progress(seconds - told)
        file.seek(0)
        return file.read().decode(errors="replace")


def _last_words(said: str) -> str:
    """Return the exception that ended the fuzzer, or what libFuzzer itself says."""
    found = re.search(r"Uncaught Python exception: ===\n(.*)|(==\d+== ERROR: .*)", said)
    return (found[1] or found[2]) if found else "no words"


def prove(seconds: int = FULL_SECONDS, progress: Progress = no_progress) -> Outcome:
    """Fuzz every target for so many seconds, and see that planted bugs are found."""
    runs = [fuzz(target, seconds, progress) for target in TARGETS]
    checks = [
        Check(
            f"{run.target}: no crash, no hang, no memory taken or kept",
            run.failure or f"{run.inputs:,} inputs, {run.covered:,} places of the code reached",
            not run.failure and run.inputs > 0,
        )
        for run in runs
    ]
    for target, words in PLANTED.items():
        run = fuzz(target, min(seconds, CONTROL_SECONDS), progress)
        seen = run.failure.rpartition(": ")[0] or "not found"
        checks.append(Check(f"the positive control: {target} is found", seen, words in seen))
    return Outcome("fuzzing", {"seconds a target": seconds}, tuple(checks))


def collect(target: str, seconds: int) -> None:
    """Fuzz a target and keep what reached new places of the code."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, data in enumerate(known_inputs(target)):
            (folder / f"known-{number}").write_bytes(data)
        flags = [f"-max_total_time={seconds}", f"-max_len={_LONGEST // 8}"]
        _run(target, folder, flags, seconds, no_progress)
        keep(target, [path.read_bytes() for path in folder.iterdir()])


def main() -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("folder", help="inputs to begin with; what is found goes there, too")
    options, flags = parser.parse_known_args()
    import atheris

    with atheris.instrument_imports(include=["orchestrator", "benchmarks.proofs.planted"]):
        from benchmarks.proofs import judge as judging

    target = (judging.TARGETS | judging.PLANTED)[options.target]()
    for number, data in enumerate(target.seeds()):
        (Path(options.folder) / f"seed-{number}").write_bytes(data)
    judge = judging.Judge(target)
    atheris.Setup([sys.argv[0], options.folder, *flags], judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
