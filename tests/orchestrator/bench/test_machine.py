from orchestrator.bench.machine import Machine


def test_a_machine_says_what_a_measurement_depends_on() -> None:
    machine = Machine.here()
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert machine.processor
    assert {"isthmus", "grpcio", "numpy"} <= machine.packages.keys()
    said = str(machine)
    for part in ("cores of", "Linux", "CPython", f"grpcio {machine.packages['grpcio']}"):
        assert part in said
