"""Hold a model, node by node, against the operator tables that its target's runtime goes by.

Kernels are matched as ONNX Runtime does it (onnxruntime/core/framework/kernel_registry.cc,
VerifyVersion): one without an end serves exactly the definition that it was written for, so an
operator of too new an opset leaves the accelerator without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import onnx
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Rule, Where
from edgecompile.diagnostics.catalogue import check as elsewhere
from edgecompile.diagnostics.catalogue import emit as refused
from edgecompile.ir.facts import all_nodes, operator
from edgecompile.ir.model import Model
from edgecompile.targets.operators import DEFAULT_DOMAIN, Entry, OperatorTable, operator_table
from edgecompile.targets.schema import OperatorSupport

_TYPE_NAMES = {"FLOAT": "float", "DOUBLE": "double"}
"""Where the tables do not call an element type as ONNX IR does."""
_FIRST_PARAMETERS = ("T", "T1")
"""What the first input of operators that ONNX does not define is of, by convention."""


class Cause(StrEnum):
    """Why a node is not served."""

    DOMAIN = "domain"
    OPERATOR = "operator"
    VERSION = "version"
    TYPE = "type"
    LIMITED = "limited"
    """It is served, but not in all its forms."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One node that a table does not serve, or only in part."""

    node: str
    op: str
    """`Conv`, or `domain::Op`."""
    cause: Cause
    reason: str


def refusals(
    model: Model, support: OperatorSupport, *, column: str | None = None
) -> Iterator[Refusal]:
    """Every node that the table of `support` does not serve, in the model's order.

    `column` stands for that of `support`. Constants and calls of the model's own functions are
    none: the nodes inside of these are asked instead.
    """
    table = operator_table(support.table)
    opsets = model.graph.graph.opset_imports
    local = {(domain, name) for domain, name, _ in model.graph.functions}
    for node in all_nodes(model):
        key = (node.domain, node.op_type)
        if key in local or key == ("", "Constant"):
            continue
        verdict = _verdict(node, table, opsets.get(node.domain, 1), column or support.column)
        if verdict is not None:
            cause, reason = verdict
            name = node.name or node.op_type
            yield Refusal(node=name, op=operator(node), cause=cause, reason=reason)


def operator_problems(
    model: Model, supports: Iterable[OperatorSupport], *, column: str | None = None
) -> list[Diagnostic]:
    """One diagnostic per operator and reason, for each table that the target goes by."""
    found: list[Diagnostic] = []
    for support in supports:
        groups: dict[tuple[str, Cause, str], list[str]] = {}
        for refusal in refusals(model, support, column=column):
            key = (refusal.op, refusal.cause, refusal.reason)
            groups.setdefault(key, []).append(refusal.node)
        for (op, cause, reason), names in sorted(groups.items()):
            found.append(_diagnostic(support, op, cause, reason, names))
    return found


def _diagnostic(
    support: OperatorSupport, op: str, cause: Cause, reason: str, names: list[str]
) -> Diagnostic:
    where, nodes, runtime = Where(node=names[0]), listed(names), support.runtime
    if cause is Cause.LIMITED:
        rule: Rule = refused.OPERATOR_LIMITED
        return rule.at(where, runtime=runtime, op=op, limitation=reason, nodes=nodes)
    if support.elsewhere is not None:
        newer = cause is Cause.VERSION
        rule = elsewhere.OPERATOR_TOO_NEW if newer else elsewhere.OPERATOR_ELSEWHERE
        place = support.elsewhere
        return rule.at(where, runtime=runtime, op=op, elsewhere=place, reason=reason, nodes=nodes)
    if cause is Cause.DOMAIN:
        domain = op.partition("::")[0]
        return refused.DOMAIN_UNSUPPORTED.at(where, runtime=runtime, domain=domain, nodes=nodes)
    if cause is Cause.OPERATOR:
        return refused.OPERATOR_UNSUPPORTED.at(where, runtime=runtime, op=op, nodes=nodes)
    rule = refused.OPERATOR_FORM_UNSUPPORTED
    return rule.at(where, runtime=runtime, op=op, reason=reason, nodes=nodes)


def _verdict(
    node: ir.Node, table: OperatorTable, opset: int, column: str | None
) -> tuple[Cause, str] | None:
    domain = node.domain or DEFAULT_DOMAIN
    entries = table.entries(domain, node.op_type, column)
    if not entries:
        if domain not in table.operators:
            return Cause.DOMAIN, "it knows no operator of that domain"
        if column is not None and table.entries(domain, node.op_type):
            return Cause.OPERATOR, f"it has none for {column}"
        return Cause.OPERATOR, "it has none"
    schema = _schema(node, opset)
    since = 1 if schema is None else schema.since_version
    fitting = [entry for entry in entries if entry.serves(since)]
    if not fitting:
        return Cause.VERSION, _newest(node, entries, since, opset)
    wrong = [_wrong_type(node, schema, entry) for entry in fitting]
    if all(wrong):
        return Cause.TYPE, wrong[0]
    limits = [entry.limitation for entry, bad in zip(fitting, wrong, strict=True) if not bad]
    return None if not all(limits) else (Cause.LIMITED, limits[0])


def _newest(node: ir.Node, entries: Iterable[Entry], since: int, opset: int) -> str:
    """What to say of an operator whose definition no kernel serves."""
    served = [
        version
        for version in range(opset - 1, 0, -1)
        if (schema := _schema(node, version)) is not None
        and any(entry.serves(schema.since_version) for entry in entries)
    ]
    advice = f"; it has that of opset {served[0]} and before" if served else ""
    return f"it does not have the form that opset {since} brought{advice}"


def _schema(node: ir.Node, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return None


def _wrong_type(node: ir.Node, schema: onnx.defs.OpSchema | None, entry: Entry) -> str:
    """The first input or output whose element type `entry` does not take; empty when all fit."""
    for value, parameter in _typed(node, schema):
        allowed = entry.types.get(parameter)
        if allowed and (kind := _type_name(value)) and kind not in allowed:
            return f"'{value.name}' is {kind}, and it takes {', '.join(sorted(allowed))}"
    return ""


def _typed(node: ir.Node, schema: onnx.defs.OpSchema | None) -> Iterator[tuple[ir.Value, str]]:
    """Inputs and outputs with the type parameter of each."""
    if schema is None:
        first = next((value for value in node.inputs if value is not None), None)
        if first is not None:
            yield from ((first, parameter) for parameter in _FIRST_PARAMETERS)
        return
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for index, value in enumerate(values):
            if value is not None and formals:  # the last formal of a variadic one stands for more
                yield value, formals[min(index, len(formals) - 1)].type_str


def _type_name(value: ir.Value) -> str:
    kind = value.dtype
    return "" if kind is None else _TYPE_NAMES.get(kind.name, kind.name.lower())


def listed(names: Sequence[str]) -> str:
    """`node 'x'`, or how many and the first."""
    first = f"node '{names[0]}'"
    return first if len(names) == 1 else f"{len(names)} nodes, the first is '{names[0]}'"
