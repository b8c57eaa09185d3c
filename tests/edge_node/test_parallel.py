from edge_node.parallel import usable_cores


def test_this_machine_has_a_core() -> None:
    assert usable_cores() >= 1
