"""`edgecompile analyze`: what each quantized layer costs, and why.

The recipe runs through its cache up to the last step that quantizes; then a dozen inferences per
held-out sample tell the costs, however many layers there are, and one more the ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgecompile.calibration.split import spread
from edgecompile.diagnostics.catalogue.data import DATA_MISSING
from edgecompile.diagnostics.catalogue.quantize import NOTHING_TO_ANALYZE
from edgecompile.driver.cached import Journal
from edgecompile.driver.loading import load_stage
from edgecompile.driver.pass_stage import run_passes
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import Resolved, preflight, resolve
from edgecompile.driver.samples import choose_samples
from edgecompile.driver.sink import Sink
from edgecompile.passes.instruments import Stopwatch
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.sensitivity import Sensitivity, bound_macs, measure_layers
from edgecompile.passes.quantize.widths import takes, widths_db
from edgecompile.passes.registry import all_passes
from edgecompile.recipes import Recipe
from edgecompile.store.location import cache_root
from edgecompile.store.store import Store
from edgecompile.verify.difficulty import Spread, input_spreads, reasons, to_json, weight_spreads

SCHEMA = "edgecompile/analysis@1"
STEP = "analyze"
AMPLIFIED_DB = 6.0
"""How much worse the output must be than the layer's own, for the rest to be to blame."""
NAMED_SHARE = 0.1
"""A layer with this share of all noise is worth a try in float."""


def analyze(request: BuildRequest, sink: Sink, *, samples: int = 4) -> dict[str, Any]:
    """The document `edgecompile/analysis@1`: layers, those that cost most first.

    Raises what `build` raises up to its passes, EC-447 when nothing is quantized in ONNX. Needs no
    toolchain of the target.
    """
    resolved = shortened(
        resolve(request, Store(cache_root(request.cache_dir), sink.diagnostic), sink)
    )
    preflight(resolved)
    if request.calibration is None and request.eval is None:
        raise DATA_MISSING.error(step=STEP)
    journal = Journal()
    loaded = load_stage(resolved, journal)
    chosen = choose_samples(resolved, journal, loaded)
    with TemporaryDirectory(prefix="edgecompile-") as scratch:
        state = run_passes(resolved, journal, loaded, chosen, Path(scratch)).state
        model, reference = state.model.get(), (state.reference or state.model).get()
        pairing = pair(model, reference)
        if not pairing.layers or chosen.held_out is None:
            name, recipe = request.model.name, resolved.recipe.name
            raise NOTHING_TO_ANALYZE.error(recipe=recipe, model=name)
        held_out = chosen.held_out.get()
        data = held_out.subset(spread(len(held_out), samples))
        watch, style = Stopwatch(), resolved.target.quantization
        sink.step_started(STEP)
        found = measure_layers(
            model,
            reference,
            pairing,
            data,
            threads=request.threads,
            progress=lambda done, total: sink.progress(STEP, done, total),
        )
        spreads = _Spreads(
            inputs=input_spreads(reference, pairing.layers, data, threads=request.threads),
            weights=weight_spreads(pairing.layers),
            per_channel=style is None or style.weights.per_channel,
        )
        layers = _layers(
            found, bound_macs(reference, data[0].feeds, threads=request.threads), spreads
        )
        text = f"{len(layers)} layers on {len(data)} samples"
        sink.step_finished(STEP, seconds=watch.seconds, cached=False, summary=text)
    return {
        "schema": SCHEMA,
        "model": request.model.name,
        "target": resolved.target.id,
        "recipe": resolved.recipe.name,
        "steps": [step.label for step in resolved.recipe.steps],
        "samples": len(data),
        "arithmetic": "exact",
        "outputs": {name: asdict(figures) for name, figures in found.outputs.items()},
        "layers": layers,
    }


def shortened(resolved: Resolved) -> Resolved:
    """The recipe up to its last step that quantizes; no emitters, and so no toolchain of theirs."""
    recipe: Recipe = resolved.recipe
    lossy = [
        number
        for number, step in enumerate(recipe.steps, 1)
        if step.operation.lossy and not step.operation.raises
    ]
    steps = recipe.steps[: max(lossy, default=0)]
    return replace(resolved, recipe=replace(recipe, steps=steps), emitters=())


@dataclass(frozen=True, kw_only=True)
class _Spreads:
    """By the layer's output."""

    inputs: Mapping[str, Spread]
    weights: Mapping[str, Spread]
    per_channel: bool
    """Whether weights have a scale for each channel."""


def _layers(found: Sensitivity, macs: Mapping[str, int], spreads: _Spreads) -> list[dict[str, Any]]:
    total_macs = sum(macs.values())
    shares = _noise_shares([cost.noise for cost in found.costs])
    layers: list[dict[str, Any]] = []
    order = sorted(range(len(found.costs)), key=lambda number: found.costs[number].alone_db)
    for cost, share in ((found.costs[number], shares[number]) for number in order):
        output = cost.layer.output
        inputs, weights = spreads.inputs.get(output), spreads.weights.get(output)
        why, helps = reasons(inputs, weights, per_channel=spreads.per_channel)
        if cost.alone_db < cost.local_db - AMPLIFIED_DB:
            why.append("what follows amplifies its error")
        if share >= NAMED_SHARE:
            helps.append(f"quantize_static.keep_float=[{cost.layer.name}]")
        widths = widths_db(cost)
        entry = {
            "layer": cost.layer.name,
            "operator": cost.layer.original.op_type,
            "alone_db": _short(cost.alone_db),
            "measured": cost.measured,
            "local_db": _short(cost.local_db),
            "accumulated_db": _short(cost.accumulated_db),
            "noise_share": _short(share),
            "widths": {name: _short(db) for name, db in sorted(widths.items())},
            "takes": takes(widths, len(found.costs)),
            "macs": macs.get(output),
            "macs_share": _share(macs, output, total_macs),
            "input": to_json(inputs),
            "weights": to_json(weights),
            "why": why,
            "helps": _known(helps),
        }
        layers.append(entry)
    return layers


def _noise_shares(noises: Sequence[float]) -> list[float]:
    """Each layer's share of the sum of all; layers that leave nothing finite share it alone."""
    if math.inf in noises:
        noises = [float(noise == math.inf) for noise in noises]
    total = sum(noises)
    return [noise / total if total else 0.0 for noise in noises]


def _known(helps: Sequence[str]) -> list[str]:
    """Without those whose pass is not installed."""
    passes = all_passes()
    return [text for text in helps if text.split(".")[0] in passes]


def _share(macs: Mapping[str, int], output: str, total: int) -> float | None:
    return _short(macs[output] / total) if output in macs and total else None


def _short(value: float) -> float:
    """Six significant digits: the rest is of this machine."""
    return float(f"{value:.6g}")
