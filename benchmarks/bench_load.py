"""Loading a model of 3 GiB with external weights, and the digest of one that is a single file."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks.measure import Measured, median, run_function
from benchmarks.table import Figure, Table

LAYERS = 48
WIDTH = 4096
LOAD_GOAL_S = 0.2
MEMORY_GOAL_MIB = 200.0
RUNS = 3
INLINE_LAYERS, INLINE_WIDTH = 18, 512
"""18 MiB of weights, the size of an efficientnet-lite0."""


def tables() -> list[Table]:
    """Every contender in a process of its own; the large file has holes instead of data."""
    with tempfile.TemporaryDirectory() as folder:
        return [_external(Path(folder)), _inline(Path(folder))]


def _external(folder: Path) -> Table:
    path = folder / "large.onnx"
    size = _chain(path, LAYERS, WIDTH, data=folder / "large.data")
    ours = _median("edgecompile_load", path)
    plain = _median("onnx_ir_load", path)
    peer = run_function("benchmarks.bench_load:onnx_load", path=str(path))
    figures = [
        Figure(
            what="load",
            unit="s",
            ours=ours.result,
            goal=LOAD_GOAL_S,
            floor=plain.result,
            peers={"onnx.load": peer.result},
        ),
        Figure(
            what="whole process, CPU",
            unit="s",
            ours=ours.cpu_s,
            floor=plain.cpu_s,
            peers={"onnx.load": peer.cpu_s},
        ),
        Figure(
            what="whole process, peak memory",
            unit="MiB",
            ours=ours.peak_rss_bytes / 2**20,
            goal=MEMORY_GOAL_MIB,
            floor=plain.peak_rss_bytes / 2**20,
            peers={"onnx.load": peer.peak_rss_bytes / 2**20},
        ),
    ]
    notes = (
        "ours checks limits, tensors, external data and the model, and infers shapes",
        "the floor is onnx_ir.load, which believes the file",
    )
    return Table(
        title=f"Load of {size / 2**30:.3g} GiB of external weights", figures=figures, notes=notes
    )


def _inline(folder: Path) -> Table:
    path = folder / "inline.onnx"
    size = _chain(path, INLINE_LAYERS, INLINE_WIDTH, data=None)
    ours, floor = (_median(name, path).result for name in ("digest", "sha256_of_file"))
    peer = _median("onnx_load", path).result
    load = _median("edgecompile_load", path).result
    figures = [
        Figure(what="load", unit="s", ours=load, peers={"onnx.load": peer}),
        Figure(what="digest", unit="s", ours=ours, floor=floor),
    ]
    notes = ("the floor is the SHA-256 of the bytes of the file",)
    return Table(title=f"A single file of {size / 2**20:.3g} MiB", figures=figures, notes=notes)


def _median(name: str, path: Path) -> Measured:
    """The run whose own figure is the middle one."""
    function = f"benchmarks.bench_load:{name}"
    runs = [run_function(function, path=str(path)) for _ in range(RUNS)]
    middle = median([run.result for run in runs])
    return min(runs, key=lambda run: abs(run.result - middle))


def _chain(path: Path, layers: int, width: int, data: Path | None) -> int:
    """Write `layers` products with float matrices [width, width]; gives the bytes of weights."""
    size = width * width * 4
    weights = []
    for index in range(layers):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[width, width])
        if data is None:
            tensor.raw_data = bytes(size)
        else:
            tensor.data_location = TensorProto.EXTERNAL
            fields = {"location": data.name, "offset": index * size, "length": size}
            for key, value in fields.items():
                tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    if data is not None:
        with data.open("wb") as file:
            file.truncate(layers * size)
    names = ["x", *(f"h{index}" for index in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return layers * size


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    kept = action()
    seconds = time.perf_counter() - started
    del kept
    return seconds


def edgecompile_load(path: str) -> float:
    """Run in a child: seconds that our load takes, imports excluded."""
    from edgecompile.ir import load

    return _timed(lambda: load(Path(path)))


def onnx_ir_load(path: str) -> float:
    """Run in a child: seconds that onnx_ir takes, imports excluded."""
    import onnx_ir

    return _timed(lambda: onnx_ir.load(path))


def onnx_load(path: str) -> float:
    """Run in a child: seconds that onnx takes, imports excluded."""
    return _timed(lambda: onnx.load(path))


def digest(path: str) -> float:
    """Run in a child: seconds that the canonical digest of a loaded model takes."""
    from edgecompile.ir import load

    model = load(Path(path))
    return _timed(lambda: model.digest)


def sha256_of_file(path: str) -> float:
    """Run in a child: seconds that hashing the file takes, reading included."""
    return _timed(lambda: hashlib.sha256(Path(path).read_bytes()).hexdigest())
