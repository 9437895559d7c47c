"""Start one command, wait for it, and write what it cost. Run as a script by `benchmarks.measure`.

It stands between because Linux counts the memory of the process that starts a child as the child's
own peak (`exec` hands the high-water mark on): so a small process has to do the starting.
"""

import json
import os
import signal
import sys
import time


def main(reply: str, limit_s: str, *command: str) -> None:
    """Write exit code, CPU and wall seconds and peak memory to the file `reply` as JSON."""
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, setpgroup=0)
    late = False

    def stop(number: int, _frame: object) -> None:
        nonlocal late
        late = late or number == signal.SIGALRM
        os.killpg(pid, signal.SIGKILL)

    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, float(limit_s))
    _, status, usage = os.wait4(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    figures = {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "wall_s": time.perf_counter() - start,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    with open(reply, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs memory
        json.dump(figures, file)


main(*sys.argv[1:])
