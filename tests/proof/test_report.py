import mmap
import os

from benchmarks.proofs.report import Check, Outcome, machine, markdown
from benchmarks.proofs.resources import held_by, slope


def test_a_check_holds_or_is_broken_or_known_to_be_open() -> None:
    verdicts = [
        Check("p", "s", holds, known).verdict
        for holds, known in ((True, ""), (True, "why"), (False, ""), (False, "why"))
    ]
    assert verdicts == ["holds", "holds", "BROKEN", "open"]


def test_a_report_names_what_was_promised_what_was_seen_and_what_is_open() -> None:
    outcome = Outcome("soak", {"calls": 1000}, (Check("it holds", "so", False, "a reason"),))
    text = markdown(outcome, 3.2)
    assert "calls 1,000; took 3 s" in text
    assert "| it holds | so | open |" in text
    assert "Open: a reason" in text


def test_the_machine_is_named() -> None:
    assert machine()["cores"] >= 1
    assert machine()["python"].startswith("3.")


def test_a_slope_does_not_count_a_single_step() -> None:
    calls = list(range(0, 20_000, 1000))
    assert slope(calls, [5.0 + 3 * x for x in calls]) == 3
    assert slope(calls, [0.0 if x < 7000 else 1e6 for x in calls]) == 0


def test_what_a_process_holds_grows_with_it() -> None:
    before = held_by(os.getpid())
    kept, file = mmap.mmap(-1, 20 * 2**20), os.open(os.devnull, os.O_RDONLY)
    try:
        kept.write(b"x" * len(kept))  # not on the heap, which may have room that nothing uses
        after = held_by(os.getpid())
    finally:
        os.close(file)
        kept.close()
    assert after.memory - before.memory > 15 * 2**20
    assert after.descriptors == before.descriptors + 1
    assert after.threads >= 1


def test_rows_become_a_table() -> None:
    rows = [{"kind": "a", "values": 1200}, {"kind": "b", "values": 3}]
    text = markdown(Outcome("soak", {}, (), tables={"by kind": rows}), 1.0)
    assert "**by kind**\n\n| kind | values |\n| --- | --- |\n| a | 1,200 |\n| b | 3 |\n" in text
