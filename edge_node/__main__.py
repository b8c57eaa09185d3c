"""`edge-node`, also `python -m edge_node`: the daemon of the edge."""

import gc

from orchestrator.wire.quiet import quiet_grpc


def main() -> None:
    """Run the edge node."""
    gc.disable()  # what is made while a node starts stays: it turns it on when it is ready
    quiet_grpc()  # before the imports below, which take grpc with them
    from edge_node.runtime import OnnxRuntime
    from edge_node.settings import EdgeSettings
    from orchestrator.serving.cli import run_daemon

    run_daemon("edge", EdgeSettings, OnnxRuntime)


if __name__ == "__main__":
    main()
