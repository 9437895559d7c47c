"""Talking to the Python of an isolated environment.

The worker there is our own `worker.py`, and the functions that it runs are files of this package
given by their path: both need only the standard library, and edgecompile is not installed there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgecompile.vendor import worker as worker_module
from edgecompile.vendor.guarded import MEMORY_BYTES, TIMEOUT_S, GuardedProcess
from edgecompile.vendor.toolchains.place import Installed
from edgecompile.vendor.toolchains.spec import Toolchain

TASKS = Path(__file__).parent / "tasks"
IMPORT_S = 600.0
"""A first import reads gigabytes and compiles thousands of files."""
_START = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
# Not as `python worker.py`: that would put our folder, which has a package named `openvino`, first
# on the path of the vendor's process.


def task(file: str, function: str) -> str:
    """The name by which a worker finds `function` in our own `tasks/<file>`."""
    return f"{TASKS / file}:{function}"


def open_worker(
    name: str,
    python: Path,
    *,
    workdir: Path,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int = MEMORY_BYTES,
    threads: int = 1,
) -> GuardedProcess:
    """A guarded worker in the environment whose interpreter is `python`."""
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return GuardedProcess(
        name,
        workdir=workdir,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        interpreter=[str(python), "-s", "-c", _START, str(worker_module.__file__)],
        extra_environment={
            **dict.fromkeys(counts, str(threads)),
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
        },
    )


def worker(
    installed: Installed,
    *,
    workdir: Path,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int = MEMORY_BYTES,
    threads: int = 1,
) -> GuardedProcess:
    """A guarded worker in an installed toolchain; see `GuardedProcess` for limits and errors."""
    return open_worker(
        installed.name,
        installed.interpreter,
        workdir=workdir,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        threads=threads,
    )


def probe(toolchain: Toolchain, python: Path, *, timeout_s: float = IMPORT_S) -> Mapping[str, str]:
    """Start a worker, import what `toolchain` names, and give the versions of all distributions.

    Raises EC-510 to EC-514.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edgecompile-") as folder,
        open_worker(
            toolchain.name, python, workdir=Path(folder).resolve(), timeout_s=timeout_s
        ) as process,
    ):
        answer = process.call(task("probe.py", "probe"), list(toolchain.imports))
    return {str(name): str(version) for name, version in answer.items()}
