"""What a run was measured on."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.bench.usage import usable_cores

_PACKAGES = ("isthmus", "grpcio", "protobuf", "numpy", "pydantic", "onnxruntime", "uvloop")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the software of a run.

    Attributes:
        processor: The model of its CPU.
        cores: How many this process may use.
        memory_gb: Its memory.
        system: The kernel and the distribution.
        python: The version of Python.
        packages: Versions of what matters; those that are not installed are left out.
        load: The load of the last minute before the run.
    """

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: dict[str, str]
    load: float

    @classmethod
    def here(cls) -> "Machine":
        """Look around."""
        return cls(
            processor=_field("/proc/cpuinfo", "model name", ":") or platform.machine(),
            cores=usable_cores(),
            memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            system=f"{_field('/etc/os-release', 'PRETTY_NAME', '=')}, Linux {platform.release()}",
            python=f"{platform.python_implementation()} {sys.version.split()[0]}",
            packages={name: found for name in _PACKAGES if (found := _version(name))},
            load=round(os.getloadavg()[0], 2),
        )

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.cores} cores of {self.processor}, {self.memory_gb:.0f} GB; {self.system}; "
            f"{self.python}; {packages}; load before the run {self.load}"
        )


def _field(path: str, name: str, mark: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(mark)[2] for line in lines if line.startswith(name))
    return next(found, "").strip(' "')


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
