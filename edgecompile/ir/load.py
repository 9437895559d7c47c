"""Reading models: nothing is believed before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir import serde

from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode, Severity, Where
from edgecompile.diagnostics.catalogue import model as rules
from edgecompile.diagnostics.core import NOWHERE
from edgecompile.ir import normal, shapes, tensors, traverse, walk
from edgecompile.ir.check import problems, run_checker
from edgecompile.ir.external import Resolver
from edgecompile.ir.limits import DEFAULT, Limits
from edgecompile.ir.model import Model
from edgecompile.ir.read import read_proto
from edgecompile.ir.weights import ExternalWeight

_TOLD_PER_KIND = 20
_INLINE_BYTES = 4096
"""Tensors up to this size stay in the skeleton: shape inference reads the values of some."""


def load(path: Path, *, limits: Limits = DEFAULT) -> Model:
    """Load the model at `path`, check it, and infer the types and shapes that it leaves out.

    External data stay on disk: only their place is checked. Raises `EdgecompileError` with every
    problem that can be told at once: EC-101 to EC-119 and EC-123.
    """
    proto = read_proto(path, limits)
    file = str(path)
    store: list[ir.TensorProtocol] = []
    _refuse([*problems(proto, file), *_take_tensors(proto, path, limits, store)])
    normal.normalise(proto)
    shapes.correct_false_scalars(proto)
    run_checker(proto, file)
    graph = _deserialize(proto, file)
    shapes.infer_in_place(graph, proto)
    _put_tensors(graph, store)
    return Model(graph=graph, origin=path)


def _refuse(found: Sequence[Diagnostic]) -> None:
    """Raise what was found: each problem once, and of each kind as many as one can read."""
    if not found:
        return
    kinds: dict[str, list[Diagnostic]] = {}
    for diagnostic in dict.fromkeys(found):  # tensors in one missing file say the same
        kinds.setdefault(diagnostic.code, []).append(diagnostic)
    told = []
    for same in kinds.values():
        told += same[:_TOLD_PER_KIND]
        if (rest := len(same) - _TOLD_PER_KIND) > 0:
            message = f"{rest} more problems of this kind"
            told.append(replace(same[0], severity=Severity.NOTE, message=message, where=NOWHERE))
    raise EdgecompileError(tuple(told), ExitCode.REJECTED)


def _take_tensors(
    proto: onnx.ModelProto, path: Path, limits: Limits, store: list[ir.TensorProtocol]
) -> list[Diagnostic]:
    """Check every tensor; move external and large ones to `store`, leaving their number behind.

    What stays is a skeleton: small enough to copy, check and infer in milliseconds.
    """
    found: list[Diagnostic] = []
    resolver = Resolver(path)
    total = 0
    for tensor in walk.tensors(proto):
        where = Where(file=str(path), tensor=tensor.name or None)
        raw = tensors.raw_data(tensor)
        if reason := tensors.malformation(tensor, raw):
            found.append(rules.TENSOR_MALFORMED.at(where, name=tensor.name, reason=reason))
            continue
        size = tensors.size_bytes(tensor)
        total += size
        if size > limits.tensor_bytes:
            limit = limits.tensor_bytes
            found.append(
                rules.LIMIT_EXCEEDED.at(where, what="size in bytes", actual=size, limit=limit)
            )
        elif tensors.is_external(tensor):
            place = resolver.place(tensor)
            if isinstance(place, Diagnostic):
                found.append(place)
            else:
                _move(tensor, ExternalWeight(tensor, place), store)
        elif size > _INLINE_BYTES:
            _move(tensor, tensors.from_proto(tensor, raw), store)
    if total > limits.weight_bytes:
        what = "size of all weights in bytes"
        limit = limits.weight_bytes
        where = Where(file=str(path))
        found.append(rules.LIMIT_EXCEEDED.at(where, what=what, actual=total, limit=limit))
    return found


def _move(
    proto: onnx.TensorProto, tensor: ir.TensorProtocol, store: list[ir.TensorProtocol]
) -> None:
    """Leave `#n` as the place of the data: the checker looks for no file of such a name."""
    for name in ("raw_data", "external_data", *tensors.TYPED_FIELDS):
        proto.ClearField(name)
    proto.data_location = onnx.TensorProto.EXTERNAL
    proto.external_data.add(key="location", value=f"#{len(store)}")
    store.append(tensor)


def _deserialize(proto: onnx.ModelProto, file: str) -> ir.Model:
    try:
        return serde.deserialize_model(proto)
    except (serde.SerdeError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise rules.DAMAGED.error(Where(file=file), reason=reason) from None


def _put_tensors(model: ir.Model, store: Sequence[ir.TensorProtocol]) -> None:
    """Replace the tensors of the skeleton by those that own their data."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = _owned(value.const_value, store)
    for node in traverse.nodes(model):
        for name, attribute in node.attributes.items():
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.TENSOR:
                node.attributes[name] = ir.AttrTensor(
                    name, _owned(attribute.value, store), attribute.doc_string
                )
            elif attribute.type == ir.AttributeType.TENSORS:
                owned = [_owned(tensor, store) for tensor in attribute.value]
                node.attributes[name] = ir.AttrTensors(name, owned, attribute.doc_string)


def _owned(tensor: ir.TensorProtocol, store: Sequence[ir.TensorProtocol]) -> ir.TensorProtocol:
    if isinstance(tensor, ir.ExternalTensor):
        return store[int(str(tensor.location)[1:])]
    if isinstance(tensor, ir.TensorProtoTensor):
        return tensors.from_proto(tensor.raw, tensors.raw_data(tensor.raw))
    return tensor
