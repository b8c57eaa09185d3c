"""`cloud-node`, also `python -m cloud_node`: the daemon of the cloud."""

from cloud_node.runtime import TorchRuntime
from cloud_node.settings import CloudSettings


def main() -> None:
    """Run the cloud node."""
    from orchestrator.serving.cli import run_daemon

    run_daemon("cloud", CloudSettings, TorchRuntime)


if __name__ == "__main__":
    main()
