import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest

from orchestrator.serving.threads import DaemonThreads


def test_what_work_gives_and_raises_is_kept() -> None:
    threads = DaemonThreads("t")
    assert threads.submit(divmod, 7, 2).result(10) == (3, 1)
    with pytest.raises(SystemExit):
        threads.submit(sys.exit, 3).result(10)
    assert threads.submit(threading.get_ident).result(10) != threading.get_ident()


def test_work_of_many_at_once_runs_at_once() -> None:
    threads, meeting = DaemonThreads("t"), threading.Barrier(20, timeout=10)
    done, _ = wait([threads.submit(meeting.wait) for _ in range(20)], 10)
    assert sorted(future.result() for future in done) == list(range(20))


def test_an_idle_thread_is_used_again() -> None:
    threads = DaemonThreads("t")
    used = set()
    for _ in range(50):
        used.add(threads.submit(threading.get_ident).result(10))
        time.sleep(0.001)  # until the thread has noted that it is idle
    assert len(used) < 10


def test_no_work_is_lost_when_many_threads_submit() -> None:
    threads = DaemonThreads("t")
    futures = []

    def submit_many() -> None:
        for number in range(500):
            futures.append(threads.submit(pow, number, 2))
            if number % 7 == 0:
                futures[-1].result(10)

    submitters = [threading.Thread(target=submit_many) for _ in range(4)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join(20)
    done, pending = wait(futures, 20)
    assert (len(done), len(pending)) == (2000, 0)


def test_work_that_hangs_does_not_keep_the_process_from_ending() -> None:
    code = (
        "import time\n"
        "from orchestrator.serving.threads import DaemonThreads\n"
        "DaemonThreads('t').submit(time.sleep, 60)\n"
        "time.sleep(0.1)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False)
    assert done.returncode == 0
