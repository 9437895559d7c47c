"""Hostile files are refused before they cost memory or time."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edgecompile.ir import Limits
from edgecompile.ir.limits import PROTOBUF_BYTES
from edgecompile.ir.wire import BadBytesError, TooManyError, TruncatedError, scan
from tests.support.protos import codes, linear, model, refusal, value, weight, write


def _nested(depth: int) -> onnx.ModelProto:
    """`If` in `If` in `If`, `depth` times."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["out0"])], "leaf", [], [value("out0")]
    )
    for level in range(1, depth):
        node = helper.make_node(
            "If", ["c"], [f"out{level}"], then_branch=branch, else_branch=branch
        )
        branch = helper.make_graph([node], f"level{level}", [], [value(f"out{level}")])
    flag = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    top = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return model([top], inputs=[value("x"), flag])


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(nodes=2), "number of nodes is 3, above the limit of 2"),
        (Limits(initializers=1), "number of initializers is 2"),
        (Limits(fields=20), "number of protobuf fields is 21"),
        (Limits(file_bytes=100), "size in bytes"),
        (Limits(tensor_bytes=63), "size in bytes is 64"),
        (Limits(weight_bytes=127), "size of all weights in bytes is 128"),
    ],
)
def test_each_limit(tmp_path: Path, limits: Limits, word: str) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["i"]),
        helper.make_node("Relu", ["i"], ["y"]),
    ]
    error = refusal(
        write(model(nodes, weights=[weight("a"), weight("b")]), tmp_path), limits=limits
    )
    assert set(codes(error)) == {"EC-107"}
    assert word in str(error)


def test_subgraph_depth(tmp_path: Path) -> None:
    path = write(_nested(4), tmp_path)
    assert codes(refusal(path, limits=Limits(subgraph_depth=3))) == ["EC-107"]
    scan(path.read_bytes(), Limits(subgraph_depth=4))


def test_nesting_that_would_overflow_a_stack(tmp_path: Path) -> None:
    """Far deeper than Python recurses, built byte by byte: each level doubles nothing."""
    graph = b""
    for _ in range(20_000):
        attribute = b"\x32" + _length(graph) + graph
        node = b"\x2a" + _length(attribute) + attribute
        graph = b"\x0a" + _length(node) + node
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08\x3a" + _length(graph) + graph)
    assert codes(refusal(path)) == ["EC-107"]


def test_functions(tmp_path: Path) -> None:
    proto = linear()
    for number in range(3):
        proto.functions.add(name=f"f{number}", domain="d")
    assert codes(refusal(write(proto, tmp_path), limits=Limits(functions=2))) == ["EC-107"]


def _length(content: bytes) -> bytes:
    value, out = len(content), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x08\x08\x3a\x05\x0a", TruncatedError),
        (b"\x08\x08\x3a\x80", TruncatedError),
        (b"\x08\x08\x3a\x02\x0a\x05", TruncatedError),
        (b"\x08\x08\x0b", BadBytesError),
        (b"\x08\x08\x3a" + b"\xff" * 11, BadBytesError),
        (b"\xff" * 20, BadBytesError),
        (b"\x3a\x05\x0a", BadBytesError),
        (b"\x08\x08", BadBytesError),
    ],
)
def test_bytes_that_are_no_messages(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        scan(data, Limits())


def test_counts() -> None:
    counts = scan(_nested(3).SerializeToString(), Limits())
    assert (counts["node"], counts["graph"], counts["g"]) == (15, 1, 14)


SCRIPT = """
import resource, sys, pathlib
from edgecompile.ir import load
from edgecompile.diagnostics import EdgecompileError
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load(pathlib.Path(sys.argv[1]))
    print("loaded")
except EdgecompileError as error:
    print(error.diagnostics[0].code)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.parametrize("unit", [b"\x0a\x00", b"\x2a\x00", b"\x0a\x02\x2a\x00"])
def test_amplification(tmp_path: Path, unit: bytes) -> None:
    """30 MB of empty nodes, tensors or attributes would take gigabytes once parsed."""
    body = unit * (30_000_000 // len(unit))
    path = tmp_path / "bomb.onnx"
    path.write_bytes(b"\x08\x08\x3a" + _length(body) + body)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, path],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    code, grown_mib = result.stdout.split()
    assert code == "EC-107"
    assert int(grown_mib) < 200


def test_sparse_file_larger_than_any_message(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(PROTOBUF_BYTES + 1)
    assert codes(refusal(path)) == ["EC-107"]


def test_the_walk_stops_at_the_limit() -> None:
    body = b"\x0a\x00" * 1000
    with pytest.raises(TooManyError) as caught:
        scan(b"\x08\x08\x3a" + _length(body) + body, Limits(nodes=10))
    assert caught.value.actual == 11
