"""`--target a,b`: one artifact for several chips, where a format has room for them."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.diagnostics.catalogue.qnn import NOT_TOGETHER
from edgecompile.emitters.registry import all_emitters
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import ArtifactRule, Target

SEPARATOR = ","


def load_targets(names: str) -> Target:
    """The target of this name, or what several, separated by commas, have in common.

    Raises EC-201 to EC-203 for a name that is none, EC-630 for targets that no single artifact can
    serve.
    """
    targets = [load_target(name.strip()) for name in names.split(SEPARATOR)]
    return targets[0] if len(targets) == 1 else together(targets)


def together(targets: Sequence[Target]) -> Target:
    """One target with the chips of all, and only what all of them take. Raises EC-630."""
    first = targets[0]
    rules = [rule for rule in first.artifacts if _for_several(rule.format)]
    for other in targets[1:]:
        formats = {rule.format for rule in other.artifacts}
        rules = [rule for rule in rules if rule.format in formats]
        problem = _problem(first, other, rules)
        if problem:
            raise NOT_TOGETHER.error(first=first.id, second=other.id, problem=problem)
    assert first.qnn is not None
    chips = tuple(chip for target in targets if target.qnn for chip in target.qnn.chips)
    known = [set(target.precisions.get("npu", ())) for target in targets]
    return first.model_copy(
        update={
            "id": SEPARATOR.join(target.id for target in targets),
            "aliases": (),
            "soc": ", ".join(target.soc for target in targets),
            "accelerator": ", ".join(target.accelerator for target in targets),
            "summary": f"one artifact for {len(targets)} devices",
            "artifacts": tuple(rule.model_copy(update={"on_request": False}) for rule in rules),
            "precisions": {
                "npu": tuple(p for p in first.precisions["npu"] if set.intersection(*known) >= {p})
            },
            "qnn": first.qnn.model_copy(update={"chips": chips}),
            "hardware": {},
        }
    )


def _for_several(format: str) -> bool:
    emitter = all_emitters().get(format)
    return emitter is not None and emitter.for_several


def _problem(first: Target, other: Target, rules: Sequence[ArtifactRule]) -> str:
    if not rules:
        return "no format has room for the chips of both"
    if first.qnn is None or other.qnn is None or not (first.qnn.chips and other.qnn.chips):
        return "one of them has no chip that is compiled for"
    shared = {chip.soc_model for chip in first.qnn.chips}
    if shared & {chip.soc_model for chip in other.qnn.chips}:
        return "they are the same chip"
    if _form(first) != _form(other):
        return "they want the model quantized in different ways"
    if first.recipe != other.recipe:
        return "their default recipes differ"
    return ""


def _form(target: Target) -> object:
    style = target.quantization
    return None if style is None else style.model_copy(update={"source": (), "notes": ()})
