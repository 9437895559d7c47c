"""What is wrong with a model: all that can be told at once, then the ONNX checker's verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue import model as rules
from edgecompile.ir import walk
from edgecompile.ir.finite import weight_problems

__all__ = ["problems", "run_checker", "weight_problems"]

LOWEST_IR_VERSION = 3
RUNTIME_DOMAINS = frozenset({"com.microsoft"})
"""Domains that ONNX Runtime's CPU provider implements without an entry in ONNX's registry."""

_LARGEST_VERSION = 2**31 - 1
_GRAPHS = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
_SPARSE = {onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS}


def problems(proto: onnx.ModelProto, file: str) -> list[Diagnostic]:
    """Versions, names, operators and constructs that edgecompile refuses; EC-113 to EC-119."""
    where = Where(file=file)
    found = [*_versions(proto, where), *_constructs(proto, where), *_names(proto, where)]
    return [*found, *_operators(proto, file)]


def run_checker(skeleton: onnx.ModelProto, file: str) -> None:
    """Run ONNX's own checker on a model without its large weights. Raises EC-112."""
    lenient = onnx.ModelProto()
    lenient.CopyFrom(skeleton)
    for value in (*lenient.graph.input, *lenient.graph.output):
        if value.type.HasField("tensor_type"):  # runtimes accept a missing shape, the checker not
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(lenient)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".:") if lines else type(error).__name__
        diagnostic = rules.CHECKER.at(Where(file=file), reason=reason)
        raise EdgecompileError((diagnostic,), rules.CHECKER.exit_code, details=str(error)) from None


def plain_domain(domain: str) -> str:
    """`ai.onnx` is the long name of the default domain, whose name is empty."""
    return "" if domain == "ai.onnx" else domain


def _versions(proto: onnx.ModelProto, where: Where) -> Iterator[Diagnostic]:
    if not LOWEST_IR_VERSION <= proto.ir_version <= onnx.IR_VERSION:
        yield rules.IR_VERSION.at(
            where, version=proto.ir_version, lowest=LOWEST_IR_VERSION, highest=onnx.IR_VERSION
        )
    newest = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": onnx.defs.onnx_ml_opset_version()}
    imports = [entry for part in (proto, *proto.functions) for entry in part.opset_import]
    for domain, version in sorted({(plain_domain(e.domain), e.version) for e in imports}):
        if domain in newest and not 1 <= version <= newest[domain]:
            name = domain or "ai.onnx"
            yield rules.OPSET.at(where, version=version, domain=name, highest=newest[domain])


def _constructs(proto: onnx.ModelProto, where: Where) -> Iterator[Diagnostic]:
    """Parts of ONNX that onnx_ir drops or refuses, and that no device runs."""
    found: list[str] = []
    if proto.training_info:
        found.append("training information")
    for graph in walk.graphs(proto):
        if isinstance(graph, onnx.GraphProto) and graph.sparse_initializer:
            found.append("a sparse initializer")
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type in _SPARSE:
                    found.append(f"a sparse attribute of {node.op_type} '{node.name}'")
                if attribute.type in _GRAPHS and attribute.ref_attr_name:
                    found.append(f"a graph by reference in {node.op_type} '{node.name}'")
        for value in walk.values(graph):
            if kind := _strange_type(value.type):
                found.append(f"the {kind} type of '{value.name}'")
    for value in (*proto.graph.input, *proto.graph.output):
        if not walk.is_defined(value.type):
            found.append(f"the undefined type of '{value.name}'")
    yield from (rules.UNSUPPORTED.at(where, what=what) for what in dict.fromkeys(found))
    if not proto.graph.output:
        yield rules.NO_OUTPUTS.at(where)


def _strange_type(kind: onnx.TypeProto) -> str | None:
    field = kind.WhichOneof("value")
    if field in {"sequence_type", "optional_type"}:
        return _strange_type(getattr(kind, field).elem_type)
    return {"map_type": "map", "opaque_type": "opaque"}.get(field or "")


def _names(proto: onnx.ModelProto, where: Where) -> Iterator[Diagnostic]:
    for graph in walk.graphs(proto):
        values = [name for node in graph.node for name in node.output if name]
        if isinstance(graph, onnx.GraphProto):
            inputs = [value.name for value in graph.input]
            weights = [tensor.name for tensor in graph.initializer]
            yield from _repeated("initializer", weights, where)
            values += inputs + sorted(set(weights) - set(inputs))
            yield from _repeated("output", (value.name for value in graph.output), where)
        else:
            values += graph.input
        yield from _repeated("value", values, where)
    identities = (f"{f.domain}::{f.name}:{f.overload}".rstrip(":") for f in proto.functions)
    yield from _repeated("function", identities, where)
    versions = {(plain_domain(e.domain), e.version) for e in proto.opset_import}
    yield from _repeated("opset domain", (domain or "ai.onnx" for domain, _ in versions), where)


def _repeated(kind: str, names: Iterable[str], where: Where) -> Iterator[Diagnostic]:
    for name, count in sorted(Counter(names).items()):
        if count > 1:
            yield rules.DUPLICATE_NAME.at(where, kind=kind, name=name, count=count)


def _operators(proto: onnx.ModelProto, file: str) -> Iterator[Diagnostic]:
    """Operators that neither ONNX's registry, nor ONNX Runtime, nor the model itself defines."""
    defined = {(plain_domain(f.domain), f.name) for f in proto.functions}
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    for root in (proto.graph, *proto.functions):
        owner = root if isinstance(root, onnx.FunctionProto) else proto
        imports = {plain_domain(entry.domain): entry.version for entry in owner.opset_import}
        for node in (node for graph in walk.nest(root) for node in graph.node):
            domain = plain_domain(node.domain)
            if domain in RUNTIME_DOMAINS or (domain, node.op_type) in defined:
                continue
            version = min(max(imports.get(domain, 1), 1), _LARGEST_VERSION)
            if not onnx.defs.has(node.op_type, version, domain):
                name = f"{domain}::{node.op_type}" if domain else node.op_type
                unknown[name] += 1
                first.setdefault(name, node.name)
    for name, count in sorted(unknown.items()):
        where = Where(file=file, node=first[name] or None)
        yield rules.CUSTOM_OPERATOR.at(where, operator=name, count=count)
