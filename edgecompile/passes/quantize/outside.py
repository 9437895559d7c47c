"""What passes share that quantize in an isolated toolchain: files there, one checked model back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.catalogue.toolchain import TOOL_NONSENSE
from edgecompile.diagnostics.core import Where
from edgecompile.ir import load, save
from edgecompile.ir.facts import all_nodes, input_specs, op_census, opset, output_specs
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass
from edgecompile.targets.schema import QdqStyle, Saturation
from edgecompile.vendor.toolchains.isolated import task, worker
from edgecompile.vendor.toolchains.place import absent, demand

_PAIR = {"QuantizeLinear", "DequantizeLinear"}
_LOWEST_OPSET = 13
"""Q/DQ per channel came with it."""


class OutsidePass(Pass):
    """A lossy pass whose work is done by `task_file`, in the environment of `toolchain`."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    facts: ClassVar[tuple[str, ...]] = ("id", "quantization", "opset")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    lossy: ClassVar[bool] = True

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """The toolchain, a float model, and an opset that it takes."""
        assert self.toolchain is not None
        where = Where(step=self.id)
        problem = absent(self.toolchain)
        found = [] if problem is None else [problem]
        if opset(model) < _LOWEST_OPSET:
            found.append(
                rules.OPSET_TOO_LOW.at(
                    where, opset=opset(model), step=self.id, needed=_LOWEST_OPSET
                )
            )
        count = _pairs(model)
        if count:
            found.append(rules.ALREADY_QUANTIZED.at(where, count=count))
        return found

    def _quantize(
        self, model: Model, context: Context, *, task_file: str, options: Mapping[str, Any]
    ) -> Outcome:
        """The model that the toolchain makes of `model`, cleaned and checked.

        Raises EC-510 to EC-514 when it fails or gives something that cannot be used.
        """
        assert self.toolchain is not None
        if context.data is None or context.workdir is None:
            raise ValueError(f"{self.id} needs data and a working directory")
        installed = demand(self.toolchain)
        workdir = context.workdir.resolve()  # the worker has a working directory of its own
        made = workdir / "made" / "model.onnx"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.unlink(missing_ok=True)  # of a run before: it must not pass for this one's
        with tempfile.TemporaryDirectory(prefix="samples-", dir=workdir) as scratch:
            given = Path(scratch)
            save(model, given / "model.onnx")
            payload = {
                "model": str(given / "model.onnx"),
                "output": str(made),
                "samples": _write_samples(context, given),
                "inputs": [spec.name for spec in input_specs(model)],
                "threads": context.threads,
                "options": dict(options),
            }
            with worker(installed, workdir=given, threads=context.threads) as process:
                process.call(task(task_file, "quantize"), payload, progress=context.progress)
        result = _accepted(self.toolchain, model, made, context)
        tools = [f"{name} {v}" for name, v in installed.versions.items() if name in self.libraries]
        by = ", ".join(tools) or self.toolchain
        note = f"{by} placed {_pairs(result)} Q and DQ nodes"
        return Outcome(model=result, changed=True, notes=[Note(message=note)])


def saturation_note(style: QdqStyle) -> list[Note]:
    """What to say of tools that have no way to keep u8 x s8 products from 16-bit overflow."""
    if style.saturation is Saturation.NEVER:
        return []
    return [Note(message="its weights take all 8 bits: products can saturate on x86 without VNNI")]


def _pairs(model: Model) -> int:
    census = op_census(model)
    return sum(count for name, count in census.items() if name.split("::")[-1] in _PAIR)


def _write_samples(context: Context, directory: Path) -> list[str]:
    """Each sample as an .npz of its own, inputs by their place: names may not be file names."""
    import numpy as np

    paths: list[str] = []
    assert context.data is not None
    for i, sample in enumerate(context.data):
        path = directory / f"{i:06d}.npz"
        np.savez(path, **{f"in{k}": array for k, array in enumerate(sample.feeds.values())})  # type: ignore[arg-type]
        paths.append(str(path))
    return paths


def _accepted(tool: str, before: Model, path: Path, context: Context) -> Model:
    """What the tool wrote, once it is known to be a quantized form of `before`."""
    if not path.is_file():
        raise TOOL_NONSENSE.error(tool=tool, reason=f"'{path.name}' is missing")
    try:
        loaded = load(path)
    except EdgecompileError as error:
        reason = f"its model is refused: {error.diagnostics[0].message}"
        raise TOOL_NONSENSE.error(tool=tool, reason=reason) from error
    after = replace(loaded, origin=before.origin)
    _clean(before, after)
    reasons = _complaints(before, after, context)
    if reasons:
        raise TOOL_NONSENSE.error(tool=tool, reason="; ".join(reasons))
    return after


def _clean(before: Model, after: Model) -> None:
    """Standard Q/DQ instead of the vendor's domains, and no trace of who wrote the file."""
    known = before.graph.graph.opset_imports
    for node in all_nodes(after):
        if node.domain and node.domain not in known and node.op_type in _PAIR:
            node.domain = ""
    used = {node.domain for node in all_nodes(after)} | {""}
    imports = after.graph.graph.opset_imports
    for domain in [name for name in imports if name not in used]:
        del imports[domain]
    after.graph.producer_name = before.graph.producer_name
    after.graph.producer_version = before.graph.producer_version
    after.graph.doc_string = before.graph.doc_string
    after.graph.graph.name = before.graph.graph.name
    after.graph.metadata_props.clear()
    after.graph.metadata_props.update(before.graph.metadata_props)


def _complaints(before: Model, after: Model, context: Context) -> list[str]:
    found = []
    if not _pairs(after):
        found.append("it quantized nothing")
    foreign = sorted(
        name
        for name in op_census(after).keys() - op_census(before).keys()
        if "::" in name or name == "QcQuantizeOp"
    )
    if foreign:
        found.append(f"operators that only it knows: {', '.join(foreign)}")
    for kind, specs in (("inputs", input_specs), ("outputs", output_specs)):
        if [(s.name, s.dtype) for s in specs(before)] != [(s.name, s.dtype) for s in specs(after)]:
            found.append(f"the model's {kind} are not those that it was given")
    limit = max(context.target.opset.max, opset(before))
    if opset(after) > limit:
        found.append(f"opset {opset(after)}, and the target takes {limit} at most")
    return found
