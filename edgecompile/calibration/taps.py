"""A session that also gives inner tensors of a model, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.calibration.session import Session, run_session
from edgecompile.diagnostics.catalogue.data import NOT_OBSERVABLE

if TYPE_CHECKING:
    from edgecompile.ir.model import Model


def tapped_session(
    model: Model,
    tensors: Sequence[str],
    *,
    threads: int = 1,
    exact: bool = False,
    only: bool = False,
) -> Session:
    """A session on `model` with `tensors` among its outputs; inputs may be named too.

    With `only`, they are all of its outputs, and what they do not need is not computed.

    Raises EC-340 when ONNX Runtime refuses the model, EC-343 for a tensor that the main graph does
    not compute.
    """
    tapped = model.clone()
    graph = tapped.graph.graph
    values = {v.name: v for v in graph.inputs} | {v.name: v for n in graph for v in n.outputs}
    if only:
        graph.outputs.clear()
    present = {value.name for value in graph.outputs}
    for name in tensors:
        if name not in values:
            raise NOT_OBSERVABLE.error(name=name, reason="the main graph does not compute it")
        if name not in present:
            graph.outputs.append(values[name])
            present.add(name)
    if only:
        RemoveUnusedNodesPass()(tapped.graph)
    return run_session(tapped, threads=threads, exact=exact)
