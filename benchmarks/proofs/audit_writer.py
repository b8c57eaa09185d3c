"""A process that writes an audit log until it is killed, and says which entries it was promised.

`python -m benchmarks.proofs.audit_writer LOG ANCHOR RUN [--early]` prints the name of each entry
once it is safe; with --early before that, as a log would that promises too much.
"""

import os
import sys
import threading
from pathlib import Path

from orchestrator.core.audit import Audit, Refused
from orchestrator.telemetry.audit.log import AuditPlace, open_audit

_THREADS = 8
_STDOUT = 1


def write_on(log: Audit, name: str, *, early: bool) -> None:
    """Write entries and tell of each, for ever."""
    number = 0
    while True:
        number += 1
        entry = f"{name}-{number}"
        future = log.record(Refused(service=entry, rule="proof"))
        if not early:
            future.result()
        os.write(_STDOUT, f"{entry}\n".encode())
        future.result()


def main() -> None:
    """Write with several threads at once."""
    path, anchor, run = sys.argv[1:4]
    early = "--early" in sys.argv
    with open_audit(AuditPlace(Path(path), anchor=Path(anchor), anchor_seconds=0.02)) as log:
        threads = [
            threading.Thread(target=write_on, args=(log, f"{run}-{n}"), kwargs={"early": early})
            for n in range(_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
