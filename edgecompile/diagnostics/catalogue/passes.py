"""4xx: rules about passes and the pipeline."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

PASS_NOTE = Rule(
    code="EC-400",
    name="pass-note",
    message="{message}",
    why="A pass tells what it did, or why it did not fire at a place.",
    fix=(),
    severity=Severity.NOTE,
    exit_code=ExitCode.OK,
)

PASS_LIED = Rule(
    code="EC-401",
    name="pass-claim-false",
    message="pass '{id}' says changed={claimed}, but the model's digest {fact}",
    why="The cache and the report trust what a pass claims, so a false claim is a bug in the pass.",
    fix=(
        "please report it, with the files that --dump-ir writes",
        "leave the pass out of a copy of the recipe to go on",
    ),
    example="return Outcome(model=model, changed=True)    # in a pass that did nothing",
    exit_code=ExitCode.BUG,
)

PASS_MUTATED = Rule(
    code="EC-402",
    name="pass-mutated-input",
    message="pass '{id}' edited the model that it was given instead of a copy",
    why="Later steps, the float reference and the cache rely on the model as it was.",
    fix=(
        "please report it, with the files that --dump-ir writes",
        "in a pass of your own: edit `model.clone()` and return that",
    ),
    example="model.graph.graph.remove(node)    # in a pass, without model.clone()",
    exit_code=ExitCode.BUG,
)

PASS_BROKE_PROMISE = Rule(
    code="EC-403",
    name="pass-promise-broken",
    message="pass '{id}' did not give what it promises: {problem}",
    why="What a pass ensures is checked after it ran; the result would be wrong without a word.",
    fix=(
        "please report it, with the files that --dump-ir writes",
        "leave the pass out of a copy of the recipe to go on",
    ),
    example="a `calibrate` step that returns no ranges",
    exit_code=ExitCode.BUG,
)

PASS_CRASHED = Rule(
    code="EC-404",
    name="pass-crashed",
    message="pass '{id}' failed unexpectedly: {problem}",
    why="A pass may refuse a model with a reason, but must never fail without one.",
    fix=(
        "please report it: run again with --dump-ir DIR and send the last file in DIR",
        "leave the pass out of a copy of the recipe to go on",
    ),
    example="a KeyError in a pass, on a model with an operator that nobody thought of",
    exit_code=ExitCode.BUG,
)

PASS_UNDECLARED_FACT = Rule(
    code="EC-405",
    name="pass-undeclared-fact",
    message="pass '{id}': {problem}",
    why="Undeclared facts are missing from the cache key, and a stale result could be reused.",
    fix=("add the fact to `facts` of the pass",),
    example="context.target.memory    # in a pass whose `facts` do not name 'memory'",
    exit_code=ExitCode.BUG,
)

PASS_NOT_DETERMINISTIC = Rule(
    code="EC-406",
    name="pass-not-deterministic",
    message="pass '{id}' gave another result than the last time for the same input",
    why="Everything that a pass depends on is in its cache key, so equal keys mean equal results.",
    fix=(
        "please report it, with the model if you may share it",
        "build with --no-cache to go on",
    ),
    example="a pass that walks through a set of names, whose order differs between processes",
    exit_code=ExitCode.BUG,
)

VERIFY_EACH_DIFFERS = Rule(
    code="EC-410",
    name="verify-each-differs",
    message=(
        "after pass '{id}' output '{output}' differs by {difference:.3g} (allowed {allowed:.3g})"
    ),
    why="A pass that only rewrites the graph must keep what the model computes.",
    fix=(
        "please report it, with the files that --dump-ir writes",
        "leave the pass out of a copy of the recipe to go on",
    ),
    example="edgecompile build model.onnx --target intel-nuc --verify-each",
    exit_code=ExitCode.BUG,
)

VERIFY_EACH_INVALID = Rule(
    code="EC-411",
    name="verify-each-invalid",
    message="after pass '{id}' the model is not valid any more: {problem}",
    why="The ONNX checker or ONNX Runtime refuses the graph that the pass made.",
    fix=(
        "please report it, with the files that --dump-ir writes",
        "leave the pass out of a copy of the recipe to go on",
    ),
    example="a pass that removes a node and leaves its output in use",
    exit_code=ExitCode.BUG,
)
