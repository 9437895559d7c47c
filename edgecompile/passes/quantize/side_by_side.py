"""Float and quantized model in one graph, which sums up their differences while it runs.

One inference of it costs about four of the model and gives, as numbers and not as tensors, the
power of the error everywhere: what each layer's own rounding makes, what it inherits, and what
each operand brings into an operator where errors meet. Memory is that of running the two models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.calibration.session import run_session
from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.passes.graph.inference import refresh_shapes
from edgecompile.passes.quantize.layers import Pairing
from edgecompile.passes.quantize.rounded import Rounded

Floats = npt.NDArray[np.float64]
_PREFIX = "edgecompile_quantized/"
_SCALED = frozenset({"Mul", "MatMul"})
"""Operators that multiply an operand's error by the other operand."""


@dataclass(frozen=True, kw_only=True)
class Powers:
    """Sums of squares of one sample, by layer in the order of the pairing, and by operator."""

    signal: Floats
    """Of the layer's output in the float model."""
    accumulated: Floats
    """Of its error with all layers quantized."""
    own: Floats
    """Of its error when it alone is quantized."""
    inherited: Floats
    """Of the rest: what the layers before it lead to in its output."""
    flows: Mapping[str, Mapping[str, float]]
    """First output of an operator with several operands -> the error that each brings to it."""
    want: Mapping[str, npt.NDArray[np.generic]]
    """Watched tensors in the float model."""
    got: Mapping[str, npt.NDArray[np.generic]]
    """And in the quantized one."""


class SideBySide:
    """A session on both models."""

    def __init__(
        self,
        model: Model,
        reference: Model,
        pairing: Pairing,
        *,
        watched: Sequence[str],
        threads: int = 1,
    ) -> None:
        """`pairing` is that of `model` and `reference`; `watched` are tensors of both.

        Raises EC-340 as sessions do.
        """
        made = _Pair(model, reference, pairing)
        self._layers = [made.layer(number) for number in range(len(pairing.layers))]
        self._flows = made.flows()
        self._watched = {name: made.both(name) for name in watched}
        self._session = run_session(made.finished(), threads=threads, exact=True, by_readiness=True)

    def run(self, feeds: Mapping[str, np.ndarray], *, sample: str = "") -> Powers:
        """Both models on one sample. Raises EC-341."""
        found = self._session.run(feeds, sample=sample)

        def power(name: str) -> float:
            return float(np.nan_to_num(found[name], nan=np.inf))

        rows = np.array([[power(name) for name in layer] for layer in self._layers])
        signal, accumulated, own, inherited = rows.reshape(-1, 4).T
        return Powers(
            signal=signal,
            accumulated=accumulated,
            own=own,
            inherited=inherited,
            flows={
                output: {
                    name: power(at) * _ratio(found, sizes) for name, (at, *sizes) in of.items()
                }
                for output, of in self._flows.items()
            },
            want={name: found[pair[0]] for name, pair in self._watched.items()},
            got={name: found[pair[1]] for name, pair in self._watched.items()},
        )


def _ratio(found: Mapping[str, npt.NDArray[np.generic]], sizes: Sequence[str]) -> float:
    """How many times each element of an operand is used by an operator that stretches it."""
    if not sizes:
        return 1.0
    whole, part = (int(found[name]) for name in sizes)
    return max(1.0, whole / max(1, part))


class _Pair:
    """Puts the graph together. Powers are outputs of it, by name."""

    def __init__(self, model: Model, reference: Model, pairing: Pairing) -> None:
        self._model = reference.clone()
        self._graph = self._model.graph.graph
        if any(value.dtype is None for node in self._graph for value in node.outputs):
            refresh_shapes(self._model.graph)
        self._pairing = pairing
        self._rounded = Rounded(self._graph, pairing.inserted)
        self._float = dict(self._rounded.values)
        self._nodes = list(self._graph)
        self._asked: list[ir.Value] = []
        for domain, version in model.graph.graph.opset_imports.items():
            self._graph.opset_imports.setdefault(domain, version)
        self._quantized = self._merge(model.clone().graph.graph)
        self._differences: dict[str, ir.Value] = {}

    def layer(self, number: int) -> tuple[str, str, str, str]:
        """Names of the layer's powers: signal, accumulated, own, inherited."""
        layer = self._pairing.layers[number]
        nodes = self._rounded.copy(layer.quantized, f"edgecompile_alone_{number}")
        self._graph.extend(nodes)
        alone, name = nodes[-1].outputs[0], layer.output
        alone.type = alone.type or self._float[name].type
        return (
            self._power(self._float[name]),
            self._power(self._difference(name)),
            self._power(self._made("Sub", alone, self._float[name])),
            self._power(self._made("Sub", self._quantized[name], alone)),
        )

    def flows(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Operator's first output -> operand -> names of its power and, maybe, of two sizes.

        Only of operators where errors of several operands can meet.
        """
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for node in self._nodes:
            names = self._uncertain(node)
            if len(names) > 1:
                flows = {name: self._flow(node, name) for name in names}
                found[node.outputs[0].name or ""] = flows
        return found

    def both(self, name: str) -> tuple[str, str]:
        """Names of a tensor in the float and in the quantized half."""
        pair = (self._float[name], self._quantized[name])
        self._asked += pair
        return name, pair[1].name or ""

    def finished(self) -> Model:
        """The graph, with all that was asked for as outputs and nothing else."""
        self._graph.outputs.clear()
        self._graph.outputs.extend(dict.fromkeys(self._asked))
        return self._model

    def _merge(self, other: ir.Graph) -> dict[str | None, ir.Value]:
        """Move the nodes of `other` into the graph; what stands for its values, by name."""
        found: dict[str | None, ir.Value] = {v.name: self._float[v.name] for v in other.inputs}
        for value in [*other.inputs, *other.initializers.values()]:
            tensor = None if value.is_graph_input() else value.const_value
            known = self._float.get(value.name)
            if tensor is not None and not (known and known.const_value is tensor):
                known = self._rounded.initializer(f"{_PREFIX}{value.name}", tensor)
            assert known is not None
            found[value.name] = known
            value.replace_all_uses_with(known, replace_graph_outputs=True)
        other.outputs.clear()
        nodes = list(other)
        other.remove(nodes)
        for node in nodes:
            node.name = f"{_PREFIX}{node.name}" if node.name else node.name
            for value in node.outputs:
                found[value.name] = value
                value.name = f"{_PREFIX}{value.name}" if value.name else value.name
        self._graph.extend(nodes)
        return found

    def _uncertain(self, node: ir.Node) -> list[str]:
        """Names of the operands of `node` that can carry an error."""
        names = [value.name for value in node.inputs if value is not None and _computed(value)]
        return [name for name in dict.fromkeys(names) if name and name in self._quantized]

    def _flow(self, node: ir.Node, name: str) -> tuple[str, ...]:
        error = self._difference(name)
        others = [v for v in node.inputs if v is not None and v.name != name]
        if node.op_type in _SCALED and len(others) == 1:
            sides = [error if v is not None and v.name == name else v for v in node.inputs]
            return (self._power(self._made(node.op_type, *sides)),)
        if node.op_type == "Concat":
            return (self._power(error),)
        return (self._power(error), self._size(node.outputs[0]), self._size(error))

    def _difference(self, name: str) -> ir.Value:
        """Of a tensor, quantized less float."""
        if name not in self._differences:
            pair = self._quantized[name], self._float[name]
            self._differences[name] = self._made("Sub", *pair)
        return self._differences[name]

    def _power(self, value: ir.Value) -> str:
        if value.dtype != ir.DataType.FLOAT:
            value = self._made("Cast", value, to=ir.DataType.FLOAT)
            value.type = ir.TensorType(ir.DataType.FLOAT)
        return self._output(self._made("ReduceSumSquare", value, keepdims=0))

    def _size(self, value: ir.Value) -> str:
        size = self._made("Size", value)
        size.type = ir.TensorType(ir.DataType.INT64)
        return self._output(size)

    def _output(self, value: ir.Value) -> str:
        self._asked.append(value)
        return value.name or ""

    def _made(self, op_type: str, *inputs: ir.Value | None, **attributes: int) -> ir.Value:
        node = ir.node(op_type, inputs, attributes)
        value = node.outputs[0]
        value.name = node.name = f"edgecompile_power_{len(self._graph)}"
        value.type = next((v.type for v in inputs if v is not None), None)
        self._graph.append(node)
        return value


def _computed(value: ir.Value) -> bool:
    """Whether it is floating-point numbers that some operator computes from the inputs."""
    known = value.dtype is not None and value.dtype.is_floating_point()
    return known and value.producer() is not None and constant_tensor(value) is None
