"""Run one pass and hold it to its contract: `requires -> run -> ensures`, and what it claims."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity, Where
from edgecompile.diagnostics.catalogue import all_rules
from edgecompile.diagnostics.catalogue.passes import (
    PASS_BROKE_PROMISE,
    PASS_CRASHED,
    PASS_LIED,
    PASS_MUTATED,
    PASS_UNDECLARED_FACT,
)
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Outcome, Pass
from edgecompile.targets.view import UndeclaredFactError


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What a pass gave, after its claims were checked."""

    outcome: Outcome
    warnings: tuple[Diagnostic, ...]


def execute(operation: Pass, model: Model, context: Context, label: str) -> Executed:
    """Run `operation` on `model`.

    Raises what `requires` finds, all problems at once, and EC-401 to EC-405 for a pass that breaks
    its contract or fails in a way of its own.
    """
    from threadpoolctl import threadpool_limits

    where = Where(step=label)
    before, sketch = model.digest, _sketch(model)
    with _Blame(operation, where):
        found = operation.requires(model, context)
        _refuse(found)
        # threads that wait for each other in BLAS burn more CPU than they save
        with threadpool_limits(limits=context.threads, user_api="blas"):
            outcome = operation.run(model, context)
    if _sketch(model) != sketch:
        raise PASS_MUTATED.error(where, id=operation.id)
    same = outcome.model is model or outcome.model.digest == before
    if outcome.changed == same:
        fact = "stayed the same" if same else "differs"
        raise PASS_LIED.error(where, id=operation.id, claimed=outcome.changed, fact=fact)
    if Need.RANGES in operation.makes and outcome.ranges is None:
        raise PASS_BROKE_PROMISE.error(where, id=operation.id, problem="it made no ranges")
    with _Blame(operation, where):
        found = [*found, *operation.ensures(model, outcome.model, context)]
    broken = [d for d in found if _is_error(d)]
    if broken:
        problem = "; ".join(d.message for d in broken)
        raise PASS_BROKE_PROMISE.error(where, id=operation.id, problem=problem)
    return Executed(outcome=outcome, warnings=tuple(d for d in found if not _is_error(d)))


def _refuse(found: Sequence[Diagnostic]) -> None:
    errors = tuple(d for d in found if _is_error(d))
    if errors:
        raise EdgecompileError(errors, all_rules()[errors[0].code].exit_code)


def _is_error(diagnostic: Diagnostic) -> bool:
    return diagnostic.severity is Severity.ERROR


class _Blame:
    """Turns an exception that a pass did not mean to raise into one that names the pass."""

    def __init__(self, operation: Pass, where: Where) -> None:
        self._operation = operation
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, EdgecompileError):
            return
        rule, problem = PASS_CRASHED, f"{type(error).__name__}: {error}"
        if isinstance(error, UndeclaredFactError):
            rule, problem = PASS_UNDECLARED_FACT, str(error)
        raise rule.error(self._where, id=self._operation.id, problem=problem) from error


def _sketch(model: Model) -> bytes:
    """A cheap fingerprint of structure and weights' identity, to notice edits in place."""
    graph = model.graph.graph
    digest = hashlib.sha256()
    for part in (graph, *graph.subgraphs(), *(f.graph for f in model.graph.functions.values())):
        names = [[v.name for v in values] for values in (part.inputs, part.outputs)]
        weights = [(name, id(value.const_value)) for name, value in part.initializers.items()]
        digest.update(repr((names, weights)).encode())
        for node in part:
            ins = [value.name if value is not None else None for value in node.inputs]
            outs = [(value.name, str(value.shape), value.dtype) for value in node.outputs]
            attributes = [(name, id(value)) for name, value in node.attributes.items()]
            digest.update(
                repr((node.name, node.domain, node.op_type, ins, outs, attributes)).encode()
            )
    digest.update(repr((model.graph.opset_imports, model.graph.metadata_props)).encode())
    return digest.digest()
