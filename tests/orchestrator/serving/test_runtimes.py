import subprocess
import sys

from orchestrator.serving.runtimes import find_runtime, how_to_get


def test_each_tier_has_a_runtime_of_its_own() -> None:
    for tier, name in (("edge", "OnnxRuntime"), ("cloud", "TorchRuntime")):
        kind = find_runtime("edge" if tier == "edge" else "cloud")
        assert kind is not None
        assert getattr(kind, "__name__", "") == name
        assert kind().tier == tier


def test_finding_and_making_runtimes_imports_nothing_heavy() -> None:
    code = (
        "import sys; from orchestrator.serving.runtimes import find_runtime\n"
        "for tier in ('edge', 'cloud'): find_runtime(tier)()\n"
        "print([name for name in ('torch', 'onnxruntime', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_can_be_installed() -> None:
    assert "pip install 'isthmus[cloud]'" in how_to_get("cloud")
