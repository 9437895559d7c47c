"""A tiny model and toy passes, to watch the pipeline at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import onnx_ir

from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.passes import PASS_BROKE_PROMISE
from edgecompile.ir.load import load
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged


def write_toy(path: Path, scale: float = 2.0) -> Path:
    """`y = relu(x * scale)`, `[1, 4]`."""
    graph = oh.make_graph(
        [
            oh.make_node("Mul", ["x", "scale"], ["z"], name="mul"),
            oh.make_node("Relu", ["z"], ["y"], name="relu"),
        ],
        "toy",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [onh.from_array(np.full(4, scale, np.float32), "scale")],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def toy(directory: Path, scale: float = 2.0) -> Model:
    """The toy model, loaded."""
    return load(write_toy(directory / f"toy{scale}.onnx", scale))


class _Toy(Pass):
    runs: ClassVar[list[str]] = []
    """Ids of the passes that really ran, in order."""


class ScaleWeights(_Toy):
    """Multiplies every weight; by 1 it does nothing."""

    id: ClassVar[str] = "scale_weights"
    lossy: ClassVar[bool] = True
    factor: float = 3.0

    def run(self, model: Model, context: Context) -> Outcome:
        self.runs.append(self.id)
        if self.factor == 1.0:
            return unchanged(model, [Note(message="a factor of one")])
        result = model.clone()
        for value in result.graph.graph.initializers.values():
            assert value.const_value is not None
            array = value.const_value.numpy() * np.float32(self.factor)
            value.const_value = onnx_ir.tensor(array, name=value.name)
        return Outcome(model=result, changed=True, notes=[Note(message="scaled", node="mul")])


class DropRelu(_Toy):
    """Removes the Relu, which changes what the model computes."""

    id: ClassVar[str] = "drop_relu"

    def run(self, model: Model, context: Context) -> Outcome:
        self.runs.append(self.id)
        result = model.clone()
        graph = result.graph.graph
        for node in list(graph):
            if node.op_type == "Relu":
                before = node.inputs[0]
                assert before is not None
                before.name, node.outputs[0].name = "y", "gone"
                before.shape, before.type = node.outputs[0].shape, node.outputs[0].type
                graph.outputs[0] = before
                graph.remove(node, safe=False)
        return Outcome(model=result, changed=True)


class Measure(_Toy):
    """Makes ranges from data."""

    id: ClassVar[str] = "measure"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    makes: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    width: float = 1.0

    def run(self, model: Model, context: Context) -> Outcome:
        self.runs.append(self.id)
        assert context.data is not None
        found = Range(min=0.0, max=self.width, observed_min=0.0, observed_max=self.width)
        if context.progress is not None:
            context.progress(1, 1)
        ranges = Ranges(tensors={"x": found}, method="m", samples=1, data_sha256="0" * 64)
        return Outcome(model=model, changed=False, ranges=ranges)


class UseRanges(_Toy):
    """Consumes ranges: notes them in the model's metadata."""

    id: ClassVar[str] = "use_ranges"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("opset",)

    def run(self, model: Model, context: Context) -> Outcome:
        self.runs.append(self.id)
        assert context.ranges is not None
        result = model.clone()
        result.graph.metadata_props["max"] = str(context.ranges.tensors["x"].max)
        result.graph.metadata_props["opset"] = str(context.target.opset.max)
        changed = result.graph.metadata_props != model.graph.metadata_props
        return Outcome(model=result if changed else model, changed=changed)


class MakeArtifact(_Toy):
    """Writes a vendor model of two files."""

    id: ClassVar[str] = "make_artifact"

    def run(self, model: Model, context: Context) -> Outcome:
        self.runs.append(self.id)
        assert context.workdir is not None
        made = context.workdir / "net.xml"
        made.write_text(f"<net {model.digest}/>")
        made.with_suffix(".bin").write_bytes(b"weights")
        return Outcome(model=model, changed=False, artifact=made)


class Lies(_Toy):
    """Breaks the contract in one of several ways."""

    id: ClassVar[str] = "lies"
    how: str

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        return []

    def run(self, model: Model, context: Context) -> Outcome:
        if self.how == "changed for nothing":
            return Outcome(model=model, changed=True)
        if self.how == "changed in secret":
            result = model.clone()
            result.graph.metadata_props["a"] = "b"
            return Outcome(model=result, changed=False)
        if self.how == "mutates":
            model.graph.graph[0].name = "other"
            return unchanged(model)
        if self.how == "crashes":
            raise KeyError("scale")
        if self.how == "reads an undeclared fact":
            return unchanged(model, [Note(message=context.target.id)])
        return unchanged(model)

    def ensures(self, before: Model, after: Model, context: Context) -> list[Diagnostic]:
        if self.how == "ensures not":
            return [PASS_BROKE_PROMISE.at(Where(), id=self.id, problem="a node is missing")]
        return []


@dataclass(frozen=True)
class ToyStep:
    """A step of a recipe."""

    label: str
    operation: Pass


def steps(*operations: Pass) -> list[ToyStep]:
    """Steps labelled by their pass ids."""
    return [ToyStep(label=o.id, operation=o) for o in operations]
