"""`cloud-node`, also `python -m cloud_node`: the daemon of the cloud."""

import gc

from orchestrator.wire.quiet import quiet_grpc


def main() -> None:
    """Run the cloud node."""
    gc.disable()  # what is made while a node starts stays: it turns it on when it is ready
    quiet_grpc()  # before the imports below, which take grpc with them
    from cloud_node.runtime import TorchRuntime
    from cloud_node.settings import CloudSettings
    from orchestrator.serving.cli import run_daemon

    run_daemon("cloud", CloudSettings, TorchRuntime)


if __name__ == "__main__":
    main()
