"""`edge-node`, also `python -m edge_node`: the daemon of the edge."""

from edge_node.runtime import OnnxRuntime
from edge_node.settings import EdgeSettings


def main() -> None:
    """Run the edge node."""
    from orchestrator.serving.cli import run_daemon

    run_daemon("edge", EdgeSettings, OnnxRuntime)


if __name__ == "__main__":
    main()
