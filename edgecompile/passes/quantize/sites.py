"""Places of Q/DQ pairs, and everything else that `quantize_static` inserts."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.passes.base import Note
from edgecompile.passes.quantize.forms import Form, Forms, Interval, WeightForm
from edgecompile.passes.quantize.operands import Operands, Weight

Edge = tuple[str, int]
"""A consumer: output name of the node (every node has one) and the input's index."""


@dataclass(frozen=True, kw_only=True)
class ActivationSite:
    """One Q/DQ pair: on `tensor`, seen only by `edges`. Sites of one `group` share a scale."""

    tensor: str
    form: Form
    edges: tuple[Edge, ...]
    group: str
    whole: bool = False
    """Also the graph's output and whoever else reads the tensor get it; only the edges of the
    sites that convert do not."""
    converts: bool = False
    """It stands behind the `whole` pair of the tensor and changes its type or scale."""
    ranged_by: str = ""
    """The tensor whose calibrated range counts, if another: that of the clamp behind, say."""
    fixed: Interval | None = None
    """[low, high) to represent whatever was calibrated."""

    @property
    def measured(self) -> str:
        """The tensor whose calibrated range counts."""
        return self.ranged_by or self.tensor


@dataclass(frozen=True, kw_only=True)
class WeightSite:
    """One constant operand of an integer operator.

    `axis` is that of its output channels, `inner` the one that the kernel multiplies and adds
    along (None for depthwise kernels, which have no neighbours to add).
    """

    tensor: str
    edge: Edge
    axis: int | None
    inner: int | None
    form: WeightForm
    turned: bool = False
    """Stored transposed, since the runtime takes scales along the other axis only."""

    @property
    def scale_axis(self) -> int | None:
        """The axis of `tensor` along which scales lie; None for one scale."""
        if not self.form.per_channel or self.axis is None:
            return None
        return self.axis if self.turned or self.form.axis in (None, self.axis) else None


@dataclass(frozen=True, kw_only=True)
class ConstantSite:
    """A constant that an operator reads like an activation, in integers of `form`."""

    tensor: str
    edges: tuple[Edge, ...]
    form: Form
    group: str | None = None
    """Activations whose scale it shares; None gives it one of its own."""


@dataclass(frozen=True, kw_only=True)
class BiasSite:
    """A constant that is added to the products of `activation` and `weight`."""

    tensor: str
    edge: Edge
    activation: Edge
    weight: Edge


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Everything that `quantize_static` inserts, and why the rest stays float."""

    activations: tuple[ActivationSite, ...]
    weights: tuple[WeightSite, ...]
    integer_nodes: tuple[str, ...]
    notes: tuple[Note, ...]
    biases: tuple[BiasSite, ...] = ()
    constants: tuple[ConstantSite, ...] = ()
    carriers: tuple[str, ...] = ()
    """Units that only pass integers on."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the activations whose range must be known."""
        return tuple(sorted({s.measured for s in self.activations if s.fixed is None}))

    @property
    def types(self) -> frozenset[str]:
        """Integer types of all pairs and stored constants."""
        read = {site.form.type for site in self.activations}
        constant = {site.form.type for site in self.constants}
        return frozenset({*read, *constant, *(site.form.type for site in self.weights)})


def node_name(node: ir.Node) -> str:
    """A node's own name, or that of its first output, which ONNX guarantees to be unique."""
    return node.name or node.outputs[0].name or ""


def edge_of(node: ir.Node, index: int) -> Edge:
    """Input `index` of `node`."""
    return (node.outputs[0].name or "", index)


def kept(node: ir.Node, reason: str) -> Note:
    """The note that `node` stays in float, and why."""
    return Note(message=reason, node=node_name(node), op_type=node.op_type, kept_float=True)


def weight_sites(node: ir.Node, operands: Operands, forms: Forms) -> list[WeightSite]:
    """The stored operands of `node`."""
    return [_weight_site(node, weight, forms.weight(node)) for weight in operands.weights]


def _weight_site(node: ir.Node, weight: Weight, form: WeightForm) -> WeightSite:
    value = node.inputs[weight.index]
    rank = 0 if value is None or value.shape is None else len(value.shape)
    # an inner axis beside the other makes it a plain matrix, which can be turned
    matrix = rank == 2 and weight.axis is not None and weight.inner is not None
    return WeightSite(
        tensor=("" if value is None else value.name or ""),
        edge=edge_of(node, weight.index),
        axis=weight.axis,
        inner=weight.inner,
        form=form,
        turned=matrix and form.per_channel and form.axis not in (None, weight.axis),
    )


def bias_sites(node: ir.Node, operands: Operands, forms: Forms) -> list[BiasSite]:
    """The constant bias of `node`, where the style holds biases in integers."""
    if forms.style.bias == "float" or operands.bias is None or not operands.weights:
        return []
    value = node.inputs[operands.bias]
    if value is None or len(operands.activations) != 1:
        return []
    return [
        BiasSite(
            tensor=value.name or "",
            edge=edge_of(node, operands.bias),
            activation=edge_of(node, operands.activations[0]),
            weight=edge_of(node, operands.weights[0].index),
        )
    ]
