import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import CallError
from orchestrator.core.model import Model, Stop, Stopped, TensorSpec
from orchestrator.models.tensor import TensorModel
from orchestrator.models.text import TextEmbedding

IMAGE = TensorSpec("image", "float32", ("batch", 3, "side"), finite=True)


def test_what_fits_has_no_problem() -> None:
    assert IMAGE.problem(np.zeros((2, 3, 7), np.float32)) is None
    assert IMAGE.problem(np.zeros((0, 3, 0), np.float32)) is None


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((2, 3, 7)), "image is float64, the model takes float32: use .astype"),
        (np.zeros((2, 3, 7), ">f4"), "image is >f4, the model takes float32: use .astype"),
        (
            np.zeros((2, 4, 7), np.float32),
            "image has shape (2, 4, 7), the model takes (batch, 3, side): use .reshape",
        ),
        (
            np.zeros((2, 3), np.float32),
            "image has shape (2, 3), the model takes (batch, 3, side): use .reshape",
        ),
        (
            np.float32(1).reshape(()),
            "image has shape (), the model takes (batch, 3, side): use .reshape",
        ),
        (
            np.full((1, 3, 1), np.nan, np.float32),
            "image holds NaN or infinity, which the model refuses: clean it first",
        ),
        (
            np.full((1, 3, 1), -np.inf, np.float32),
            "image holds NaN or infinity, which the model refuses: clean it first",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_cure(array: np.ndarray, problem: str) -> None:
    assert IMAGE.problem(array) == problem


def test_nan_passes_where_nobody_refused_it() -> None:
    spec = TensorSpec("image", "float32", ("batch",))
    assert spec.problem(np.array([np.nan, np.inf], np.float32)) is None


def test_nan_is_refused_in_complex_numbers_too() -> None:
    spec = TensorSpec("wave", "complex64", ("batch",), finite=True)
    assert spec.problem(np.array([np.nan + 1j], np.complex64))


@given(st.lists(st.integers(0, 5), max_size=4), st.lists(st.integers(0, 5), max_size=4))
def test_fixed_axes_fit_exactly_their_own_shape(wanted: list[int], given_: list[int]) -> None:
    spec = TensorSpec("x", "int8", tuple(wanted))
    assert (spec.problem(np.zeros(given_, np.int8)) is None) == (wanted == given_)


def test_the_models_of_the_library_are_models_and_functions_are_not() -> None:
    assert isinstance(TextEmbedding("minilm"), Model)
    assert isinstance(TensorModel("net"), Model)
    assert not isinstance(test_nan_passes_where_nobody_refused_it, Model)


def test_a_stop_calls_everyone_back_once() -> None:
    stop, heard = Stop(), []
    stop.on_request(lambda: heard.append("before"))
    assert not stop.requested
    stop.request()
    stop.request()
    stop.on_request(lambda: heard.append("after"))
    assert heard == ["before", "after"]
    assert stop.requested


def test_a_loop_that_checks_stops_with_a_cancelled_call() -> None:
    stop = Stop()
    stop.check()
    stop.request()
    with pytest.raises(Stopped) as stopped:
        stop.check()
    assert isinstance(stopped.value, CallError)
    assert stopped.value.code == "CANCELLED"


@pytest.mark.parametrize("_attempt", range(10))
def test_no_callback_is_lost_or_doubled_when_a_stop_races_with_it(_attempt: int) -> None:
    stop, heard, ready = Stop(), list[int](), threading.Barrier(9)

    def register(number: int) -> None:
        ready.wait()
        stop.on_request(lambda: heard.append(number))

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    stop.request()
    for thread in threads:
        thread.join()
    assert sorted(heard) == list(range(8))
