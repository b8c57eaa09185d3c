import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import InvalidInput, ModelUnavailable
from orchestrator.core.model import Batch, ModelFolder, Stop, TensorSpec, Way
from orchestrator.core.report import ModelReport
from orchestrator.core.running import Meter
from orchestrator.models.store import ModelStore
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.pool import ModelPool
from orchestrator.testing import FakeRuntime, fake_model

X, Y = TensorSpec("x", "float32", ("batch", 2), finite=True), TensorSpec("y", "float32", ("batch",))
doubler = TensorModel("doubler")


def total(batch: Batch, stop: Stop) -> Batch:
    return {"y": batch["x"].sum(axis=1)}


def pool_of(tmp_path: Path, compute: Any = total, **options: Any) -> tuple[ModelPool, FakeRuntime]:
    fake_model(tmp_path, "doubler", [X], [Y])
    runtime = FakeRuntime("edge", {"doubler": compute})
    return ModelPool(ModelStore(tmp_path), runtime, BatchOptions(**options)), runtime


async def test_a_model_is_loaded_once_and_warm_before_it_counts(tmp_path: Path) -> None:
    runs: list[int] = []

    def counted(batch: Batch, stop: Stop) -> Batch:
        runs.append(len(batch["x"]))
        return total(batch, stop)

    pool, runtime = pool_of(tmp_path, counted)
    await pool.load(doubler)
    warm = len(runs)
    await pool.load(doubler)
    assert (runtime.loaded, runs[0], len(runs)) == (["doubler"], 1, warm)
    (report,) = pool.reports
    assert (report.name, report.device, report.batched) == ("doubler", "fake", True)
    batcher = pool.batchers["doubler"]
    assert (batcher.batches, batcher.rows) == (0, 0)  # what it was tried out with is no traffic
    await pool.aclose()
    assert (runtime.loaded, pool.reports) == ([], ())


async def test_inputs_go_in_and_outputs_come_out_whatever_their_number(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path)
    await pool.load(doubler)
    for count in (0, 1, 16, 17, 200):
        x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        answer = await pool.run(doubler, {"x": x}, Meter())
        np.testing.assert_array_equal(answer["y"], x.sum(axis=1))
    await pool.aclose()


@pytest.mark.parametrize(
    ("inputs", "cure"),
    [
        ({}, "takes x, not nothing"),
        ({"z": np.zeros((1, 2), np.float32)}, "takes x, not z"),
        ({"x": np.zeros((1, 2))}, r"x is float64, the model takes float32: use \.astype"),
        ({"x": np.zeros((1, 3), np.float32)}, r"the model takes \(batch, 2\): use \.reshape"),
        ({"x": np.full((1, 2), np.nan, np.float32)}, "holds NaN or infinity"),
    ],
)
async def test_inputs_that_do_not_fit_are_refused_with_the_cure(
    tmp_path: Path, inputs: Any, cure: str
) -> None:
    pool, _ = pool_of(tmp_path)
    await pool.load(doubler)
    with pytest.raises(InvalidInput, match=cure):
        await pool.run(doubler, inputs, Meter())
    await pool.aclose()


async def test_a_model_that_no_service_named_is_unavailable_with_the_cure(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"name it in the service's decorator, models="):
        await pool.run(doubler, {}, Meter())


async def test_a_model_that_is_not_in_the_store_is_unavailable_with_the_cure(
    tmp_path: Path,
) -> None:
    pool = ModelPool(ModelStore(tmp_path), FakeRuntime("edge"))
    with pytest.raises(ModelUnavailable, match="isthmus models add missing"):
        await pool.load(TensorModel("missing"))


async def test_a_damaged_model_is_not_loaded(tmp_path: Path) -> None:
    pool, runtime = pool_of(tmp_path)
    (tmp_path / "doubler" / "fake.txt").write_text("spoilt\n")
    with pytest.raises(ModelUnavailable, match=r"fake\.txt differs from the manifest"):
        await pool.load(doubler)
    assert runtime.loaded == []


async def test_a_model_that_failed_to_warm_up_does_not_count_as_loaded(tmp_path: Path) -> None:
    def broken(batch: Batch, stop: Stop) -> Batch:
        raise RuntimeError("out of memory")

    pool, _ = pool_of(tmp_path, broken)
    try:
        for _ in range(2):  # the second time it seems to be there
            with pytest.raises(ModelUnavailable, match="out of memory"):
                await pool.load(doubler)
        assert pool.reports == ()
    finally:
        await pool.aclose()


async def test_a_model_that_cannot_be_warmed_up_is_unavailable(tmp_path: Path) -> None:
    def broken(batch: Batch, stop: Stop) -> Batch:
        raise RuntimeError("out of memory")

    pool, _ = pool_of(tmp_path, broken)
    try:
        with pytest.raises(ModelUnavailable, match="doubler"):
            await pool.load(doubler)
    finally:
        await pool.aclose()


async def test_runs_of_one_model_never_overlap(tmp_path: Path) -> None:
    alone = threading.Lock()

    def guarded(batch: Batch, stop: Stop) -> Batch:
        assert alone.acquire(blocking=False)
        try:
            return total(batch, stop)
        finally:
            alone.release()

    pool, _ = pool_of(tmp_path, guarded)
    await pool.load(doubler)
    x = np.ones((20, 2), np.float32)
    await asyncio.gather(*(pool.run(doubler, {"x": x}, Meter()) for _ in range(20)))
    await pool.aclose()


def quantised(batch: Batch, stop: Stop) -> Batch:
    """Rounds to a share of the batch's largest number, as dynamic INT8 does."""
    step = max(float(np.abs(batch["x"]).max()), 1e-9) / 127
    return {"y": (np.round(batch["x"] / step) * step).sum(axis=1).astype(np.float32)}


async def together(pool: ModelPool, rows: int) -> list[float]:
    """Return the answers to calls of one row each that come at the same time."""
    calls = [
        pool.run(doubler, {"x": np.full((1, 2), n + 0.3, np.float32)}, Meter()) for n in range(rows)
    ]
    return [float(answer["y"][0]) for answer in await asyncio.gather(*calls)]


async def test_a_model_whose_answers_depend_on_batch_mates_is_not_batched(tmp_path: Path) -> None:
    runs: list[int] = []

    def counted(batch: Batch, stop: Stop) -> Batch:
        runs.append(len(batch["x"]))
        return quantised(batch, stop)

    pool, _ = pool_of(tmp_path, counted)
    await pool.load(doubler)
    assert [report.batched for report in pool.reports] == [False]
    runs.clear()
    alone = [(await together(pool, 1))[0], *(await together(pool, 10))[1:]]
    assert runs == [1] * 11
    assert alone == pytest.approx([2 * (n + 0.3) for n in range(10)], rel=1e-6)
    await pool.aclose()


async def test_a_model_that_takes_one_row_at_a_time_is_not_batched_and_works(
    tmp_path: Path,
) -> None:
    def single(batch: Batch, stop: Stop) -> Batch:
        if len(batch["x"]) > 1:
            raise ValueError("the batch axis is 1")
        return total(batch, stop)

    pool, _ = pool_of(tmp_path, single)
    await pool.load(doubler)
    assert [report.batched for report in pool.reports] == [False]
    answer = await pool.run(doubler, {"x": np.ones((5, 2), np.float32)}, Meter())
    assert answer["y"].tolist() == [2] * 5
    await pool.aclose()


async def test_with_a_batch_size_of_one_a_model_is_not_batched(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path, max_batch_size=1)
    await pool.load(doubler)
    assert [report.batched for report in pool.reports] == [False]
    await pool.aclose()


async def test_as_many_runs_overlap_as_the_runtime_says(tmp_path: Path) -> None:
    both, gate = threading.Barrier(2, timeout=10), threading.Event()

    def paired(batch: Batch, stop: Stop) -> Batch:
        if gate.is_set():
            both.wait()
        return total(batch, stop)

    pool, runtime = pool_of(tmp_path, paired)
    runtime.parallel = 2
    assert pool.parallelism == 1
    await pool.load(doubler)
    assert pool.parallelism == 2
    gate.set()
    assert await together(pool, 2) == pytest.approx([0.6, 2.6])
    gate.clear()
    await pool.aclose()


class Choosy(FakeRuntime):
    """Has several ways to run its models, and notes which of them were opened."""

    def __init__(self, ways: list[Way], functions: dict[str, Any]) -> None:
        super().__init__("edge", {"doubler": total})
        self.offered = ways
        self.functions = functions
        self.opened: list[Way] = []
        self.used: Way | None = None

    def ways(self, folder: ModelFolder) -> list[Way]:
        return self.offered

    def open(self, name: str, way: Way) -> Any:
        self.opened.append(way)
        return self.functions[way.graph]

    def use(self, name: str, way: Way) -> None:
        self.used = way


FULL, SMALL = Way("full", 1, 1, 1e-4), Way("small", 2, 1, 0.1)


def slow(batch: Batch, stop: Stop) -> Batch:
    end = time.process_time() + 0.002
    while time.process_time() < end:
        pass
    return total(batch, stop)


def choosy(tmp_path: Path, functions: dict[str, Any]) -> tuple[ModelPool, Choosy]:
    if not (tmp_path / "doubler").exists():
        fake_model(tmp_path, "doubler", [X], [Y])
    runtime = Choosy([FULL, SMALL], functions)
    return ModelPool(ModelStore(tmp_path), runtime), runtime


async def test_the_cheapest_way_is_used_reported_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isthmus.node")
    pool, runtime = choosy(tmp_path, {"full": slow, "small": total})
    await pool.load(doubler)
    (report,) = pool.reports
    assert (report.graph, report.batched) == ("small, 2 runs x 1 thread", True)
    assert (runtime.used, pool.parallelism) == (SMALL, 2)
    assert "is warm on fake: small, 2 runs x 1 thread, batched" in caplog.text
    await pool.aclose()


async def test_the_next_start_knows_what_the_first_found_out(tmp_path: Path) -> None:
    runs: list[int] = []

    def counted(batch: Batch, stop: Stop) -> Batch:
        runs.append(len(batch["x"]))
        return quantised(batch, stop)

    reports: list[ModelReport] = []
    for opened in ([FULL, SMALL], [SMALL]):
        runs.clear()
        pool, runtime = choosy(tmp_path, {"full": slow, "small": counted})
        runtime.offered = [FULL, replace(SMALL, tolerance=0.5)]
        await pool.load(doubler)
        assert list(dict.fromkeys(way.graph for way in runtime.opened)) == [
            way.graph for way in opened
        ]
        reports += pool.reports
        assert await together(pool, 2) == pytest.approx([0.6, 2.6])
        await pool.aclose()
    assert runs == [1, 1, 1]  # the second time its example, then each caller's row by itself
    assert reports[0] == reports[1]
    assert not reports[1].batched


async def test_what_holds_for_other_settings_or_another_model_is_found_out_anew(
    tmp_path: Path,
) -> None:
    pool, _ = choosy(tmp_path, {"full": slow, "small": total})
    await pool.load(doubler)
    await pool.aclose()
    pool, runtime = choosy(tmp_path, {"full": slow, "small": total})
    runtime.offered = [FULL, replace(SMALL, runs=3)]
    await pool.load(doubler)
    assert runtime.opened[0] == FULL
    await pool.aclose()
    fake_model(tmp_path, "doubler", [X, TensorSpec("z", "int64", ("batch",))], [Y])
    pool, runtime = choosy(tmp_path, {"full": slow, "small": total})
    await pool.load(doubler)
    assert runtime.opened[0] == FULL
    await pool.aclose()


async def test_what_is_known_is_no_excuse_for_a_damaged_file(tmp_path: Path) -> None:
    pool, _ = choosy(tmp_path, {"full": slow, "small": total})
    await pool.load(doubler)
    await pool.aclose()
    (tmp_path / "doubler" / "fake.txt").write_text("spoilt\n")
    pool, _ = choosy(tmp_path, {"full": slow, "small": total})
    with pytest.raises(ModelUnavailable, match=r"fake\.txt differs from the manifest"):
        await pool.load(doubler)


async def test_a_model_that_cannot_be_tried_out_is_served_in_its_first_way(
    tmp_path: Path,
) -> None:
    def particular(batch: Batch, stop: Stop) -> Batch:
        if not (batch["x"] == np.round(batch["x"])).all():
            raise ValueError("whole numbers only")
        return total(batch, stop)

    pool, runtime = choosy(tmp_path, {"full": particular, "small": total})
    await pool.load(doubler)
    assert (runtime.used, pool.parallelism) == (FULL, 1)
    answer = await pool.run(doubler, {"x": np.ones((5, 2), np.float32)}, Meter())
    assert answer["y"].tolist() == [2] * 5
    await pool.aclose()
