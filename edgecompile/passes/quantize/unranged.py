"""Which operators cannot be in integers because calibration gave their tensors no range."""

from __future__ import annotations

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.sites import ActivationSite, Placement, node_name


def nodes_without_range(model: Model, placement: Placement, ranges: Ranges) -> dict[str, str]:
    """Units of `placement` that a tensor without a range belongs to: name -> why it has none."""
    sites = [s for s in placement.activations if s.fixed is None]
    lost = [site for site in sites if site.measured not in ranges.tensors]
    missing: dict[str, str] = {}
    if not lost:
        return missing
    outputs = any(site.whole for site in placement.activations)
    for site in lost:
        why = ranges.skipped.get(site.measured, f"'{site.measured}' was not calibrated")
        names = _neighbours(model, placement, site) if outputs else _below(model, placement, site)
        missing |= dict.fromkeys(sorted(names), why)
    return missing


def _neighbours(model: Model, placement: Placement, site: ActivationSite) -> set[str]:
    """The units that make and read the tensor of `site`."""
    readers = {output for output, _ in site.edges}
    near = {
        node_name(node)
        for node in model.graph.graph
        if node.outputs[0].name in readers or any(v.name == site.tensor for v in node.outputs)
    }
    return near & {*placement.integer_nodes, *placement.carriers}


def _below(model: Model, placement: Placement, site: ActivationSite) -> set[str]:
    """The integer operators that read `site`, also through operators that only pass it on."""
    owners = {node.outputs[0].name or "": node for node in model.graph.graph}
    integer, names = set(placement.integer_nodes), set[str]()
    pending = list(site.edges)
    while pending:
        node = owners[pending.pop()[0]]
        if node_name(node) in integer:
            names.add(node_name(node))
        else:
            uses = node.outputs[0].uses()
            pending += [(use.outputs[0].name or "", index) for use, index in uses]
    return names
