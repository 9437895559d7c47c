"""23x to 25x: rules about recipes, `--set` and budgets."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

UNKNOWN_RECIPE = Rule(
    code="EC-230",
    name="unknown-recipe",
    message="there is no recipe '{name}'",
    why="A recipe is the name of one that ships with edgecompile, or the path of a YAML file.",
    fix=("list the recipes with 'edgecompile recipes'",),
    example="edgecompile build model.onnx --target intel-nuc --recipe ./mine.yaml",
)

RECIPE_UNREADABLE = Rule(
    code="EC-231",
    name="recipe-unreadable",
    message="the recipe '{path}' cannot be read: {problem}",
    why="A recipe is a UTF-8 text file.",
    fix=("check the path and its permissions",),
    example="edgecompile recipes ./mine.yaml",
)

BAD_YAML = Rule(
    code="EC-232",
    name="bad-recipe-yaml",
    message="the recipe is not valid YAML: {problem}",
    why="Recipes are plain YAML data: no tags, anchors or aliases, within fixed limits of size.",
    fix=("mend the YAML at the place shown", "print a good example with 'edgecompile recipes'"),
    example="steps:\n  - pass: simplify",
)

RECIPE_KEY = Rule(
    code="EC-233",
    name="unknown-recipe-key",
    message="unknown key '{key}' in {place}",
    why="A misspelt key would otherwise be ignored, and the build would not do what was meant.",
    fix=("correct or remove the key",),
    example="steps:\n  - pass: quantize_static\n    weights: int8",
)

RECIPE_VALUE = Rule(
    code="EC-234",
    name="bad-recipe-value",
    message="{place}: {problem}",
    why="Every value of a recipe is checked before any work starts.",
    fix=(
        "see what a pass takes with 'edgecompile passes NAME'",
        "see a whole recipe with 'edgecompile recipes openvino-int8'",
    ),
    example="samples: 256",
)

UNKNOWN_PASS = Rule(
    code="EC-235",
    name="unknown-pass",
    message="there is no pass '{name}'",
    why="Each step of a recipe names one pass.",
    fix=("list the passes with 'edgecompile passes'",),
    example="steps:\n  - pass: quantize_static",
)

STEP_UNFIT = Rule(
    code="EC-236",
    name="recipe-does-not-fit-target",
    message="step '{step}' cannot be done for '{target}': {reason}",
    why="A target takes only what its hardware and runtime can run.",
    fix=("use the target's own recipe: leave out --recipe", "remove the step from the recipe"),
    example="edgecompile targets intel-nuc",
)

MISSING_EARLIER_STEP = Rule(
    code="EC-237",
    name="missing-calibrate-step",
    message="step '{step}' needs ranges, and no step before it makes them",
    why="Calibration makes ranges, quantize passes consume them.",
    fix=("put a 'calibrate' step before it",),
    example="steps:\n  - pass: calibrate\n  - pass: quantize_static",
)

PATH_OUTSIDE = Rule(
    code="EC-238",
    name="path-outside-recipe",
    message="'{option}' names '{path}', which is not in the recipe's own directory",
    why="A recipe from elsewhere must not be able to read other files of the machine.",
    fix=("put the file beside the recipe and name it by a relative path",),
    example="ranges: ranges.json",
)

NO_SUCH_ARTIFACT = Rule(
    code="EC-239",
    name="format-not-taken",
    message="'{target}' takes no artifacts of the format '{format}'",
    why="Options for a format that is not built would have no effect.",
    fix=("see the formats with 'edgecompile targets NAME'", "remove the format from 'emit'"),
    example="emit:\n  openvino-ir: {compress_to_fp16: true}",
)

BAD_OVERRIDE = Rule(
    code="EC-240",
    name="bad-override",
    message="'{text}' is not of the form STEP.OPTION=VALUE",
    why="An override names a step of the recipe, one of its options, and the new value.",
    fix=("write for instance '--set calibrate.samples=64'",),
    example="edgecompile build model.onnx --target intel-nuc --set calibrate.samples=64",
)

UNKNOWN_STEP = Rule(
    code="EC-241",
    name="unknown-step",
    message="the recipe '{recipe}' has no step '{step}'",
    why="An override of a step that is not there would have no effect.",
    fix=("print the steps with 'edgecompile recipes {NAME}'",),
    example="--set quantize_static.weights=int8",
)

UNKNOWN_OPTION = Rule(
    code="EC-242",
    name="unknown-option",
    message="'{step}' has no option '{option}'",
    why="An override of an option that is not there would have no effect.",
    fix=("see what the pass takes with 'edgecompile passes NAME'",),
    example="--set calibrate.method=entropy",
)

BAD_OPTION_VALUE = Rule(
    code="EC-243",
    name="bad-option-value",
    message="'{value}' does not do for '{step}.{option}': {problem}",
    why="The value after '=' is read as YAML and checked like the same line in a recipe.",
    fix=("see what the pass takes with 'edgecompile passes NAME'",),
    example="--set calibrate.samples=64",
)

BAD_BUDGET = Rule(
    code="EC-250",
    name="bad-budget",
    message="'{text}' is not a budget: {problem}",
    why="A budget is a figure that the build must reach, or it fails.",
    fix=("write METRIC>=VALUE or METRIC<=VALUE, for instance 'cosine>=0.99'",),
    example="edgecompile build model.onnx --target intel-nuc --budget 'sqnr_db>=20'",
)

INTEGERS_REFUSED = Rule(
    code="EC-244",
    name="integers-refused",
    message="'{target}' computes in floating point only, so the recipe '{recipe}' gives way to "
    "'{instead}': {why}",
    why="A model in integers would be refused by the device's compiler, or run slower and less "
    "accurately than the float model that it was made from.",
    fix=("name the recipe to be rid of this warning: --recipe RECIPE",),
    example="edgecompile build model.onnx --target ncs2 --recipe openvino-int8",
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
