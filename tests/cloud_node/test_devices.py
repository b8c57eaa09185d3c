import pytest
import torch

from cloud_node.devices import choose_device, open_device
from orchestrator.core.errors import SettingsError

no_gpu = pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU"
)


@no_gpu
def test_without_anything_better_it_is_the_cpu() -> None:
    assert choose_device() == "cpu"


@pytest.mark.parametrize("wanted", ["cpu", "cpu:0"])
def test_the_device_of_the_settings_is_taken(wanted: str) -> None:
    assert choose_device(wanted) == wanted
    assert open_device(wanted) == torch.device(wanted)


@no_gpu
@pytest.mark.parametrize("wanted", ["cuda", "cuda:1", "mps"])
def test_a_wanted_device_that_is_not_there_is_an_error_that_names_those_that_are(
    wanted: str,
) -> None:
    with pytest.raises(SettingsError, match=f"device '{wanted}' is not present: choose from cpu$"):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["abacus", "CPU", ":0"])
def test_what_is_no_device_is_an_error(wanted: str) -> None:
    with pytest.raises(SettingsError, match="is not present"):
        choose_device(wanted)
