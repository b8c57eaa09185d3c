from pathlib import Path

import pytest

from edge_node.providers import PREFERENCE, choose_providers, refuse_both_builds
from orchestrator.core.errors import SettingsError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@pytest.mark.parametrize("best", PREFERENCE[:-1])
def test_the_best_provider_present_is_taken_with_the_cpu_behind_it(best: str) -> None:
    worse = PREFERENCE[PREFERENCE.index(best) :]
    assert choose_providers([*reversed(worse)]) == [best, CPU]


def test_without_anything_better_it_is_the_cpu() -> None:
    assert choose_providers([CPU]) == [CPU]


def test_tensorrt_is_not_taken_unasked() -> None:
    tensorrt = "TensorrtExecutionProvider"
    assert choose_providers([tensorrt, CUDA, CPU]) == [CUDA, CPU]
    assert choose_providers([tensorrt, CUDA, CPU], tensorrt) == [tensorrt, CPU]


def test_the_provider_of_the_settings_wins_over_a_better_one() -> None:
    assert choose_providers([CUDA, CPU], CPU) == [CPU]


def test_a_wanted_provider_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(SettingsError, match=f"{CUDA} is not present: choose from {CPU}$"):
        choose_providers([CPU], CUDA)


def test_one_build_of_onnx_runtime_is_fine_and_two_are_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_both_builds()
    other = tmp_path / "onnxruntime_gpu-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingsError, match=r"uninstall both, then install one of isthmus\[edge\]"):
        refuse_both_builds()
