"""Rules 7xx: the cache and the build directory."""

from __future__ import annotations

from edgecompile.diagnostics.core import Rule, Severity

CACHE_UNUSABLE = Rule(
    code="EC-701",
    name="cache-unusable",
    message="the cache in '{path}' cannot be written: {reason}; results are not kept",
    why="Results of earlier builds are neither reused nor kept, so every step runs again.",
    fix=(
        "make the folder writable or free some space",
        "choose another folder: --cache-dir DIR, or set EDGECOMPILE_CACHE_DIR",
        "say --no-cache to build without a cache and without this warning",
    ),
    example="edgecompile build model.onnx --target intel-nuc --cache-dir /var/tmp/edgecompile",
    severity=Severity.WARNING,
)

CACHE_ENTRY_DAMAGED = Rule(
    code="EC-702",
    name="cache-entry-damaged",
    message="a cached result of '{step}' was damaged ({reason}); it was dropped and is made again",
    why="The bytes on disk do not have the digest that was recorded when they were written.",
    fix=(
        "nothing: the step runs again",
        "if it happens again, check the disk, or empty the cache: edgecompile cache gc --all",
    ),
    example="a cache on a disk with bad blocks, or edited by hand",
    severity=Severity.WARNING,
)

OUTPUT_FOREIGN = Rule(
    code="EC-710",
    name="output-not-ours",
    message="'{path}' holds files that are not of a build and would be lost: {files}",
    why="A build replaces its whole output directory.",
    fix=("name another directory: -o DIR", "move these files elsewhere first"),
    example="edgecompile build model.onnx --target intel-nuc -o build/model",
)

OUTPUT_UNWRITABLE = Rule(
    code="EC-711",
    name="output-unwritable",
    message="cannot write the directory '{path}': {reason}",
    why="The build is made beside its output directory and then renamed into place.",
    fix=("name a directory that you can write to: -o DIR", "check permissions and free space"),
    example="edgecompile build model.onnx --target intel-nuc -o ~/build/model",
)

OUTPUT_IS_FILE = Rule(
    code="EC-712",
    name="output-is-a-file",
    message="'{path}' is a file, and the output of a build is a directory",
    why="A build gives several files: manifest, report, model and artifacts.",
    fix=("name a directory: -o DIR",),
    example="edgecompile build model.onnx --target intel-nuc -o model.onnx",
)

LOCK_MISSING = Rule(
    code="EC-720",
    name="lock-missing",
    message="--locked needs the manifest of an earlier build, and '{path}' has none",
    why="`--locked` promises to repeat an earlier build exactly, so there must be one.",
    fix=("build once without --locked and keep its manifest.json", "check -o DIR"),
    example="edgecompile build model.onnx --target intel-nuc -o new/ --locked",
)

LOCK_DIFFERS = Rule(
    code="EC-721",
    name="lock-differs",
    message="--locked: {what} is {actual}, and the manifest says {locked}",
    why="`--locked` promises to repeat the build of the manifest in the output directory exactly.",
    fix=("restore the input that differs", "leave out --locked to make a new build"),
    example="edgecompile build model.onnx --target intel-nuc --locked",
)

CACHE_NO_BUILD = Rule(
    code="EC-730",
    name="cache-no-build",
    message="the cache knows no build{which}",
    why="'cache why' explains the last build that used this cache.",
    fix=(
        "build first, with the same --cache-dir",
        "'edgecompile cache list' shows what the cache holds",
    ),
    example="edgecompile cache why    (before the first build)",
)

RANGES_UNWRITABLE = Rule(
    code="EC-740",
    name="ranges-unwritable",
    message="cannot write '{path}': {reason}",
    why="The calibrated ranges have nowhere to go.",
    fix=("name a file that you can write to: -o ranges.json",),
    example="edgecompile calibrate model.onnx --calibration photos/ -o missing/ranges.json",
)

INSPECT_UNKNOWN = Rule(
    code="EC-750",
    name="inspect-unknown",
    message="'{path}' is nothing that can be inspected: {reason}",
    why="'inspect' tells of ONNX models, artifacts, and build directories.",
    fix=("name a model (.onnx), an artifact (.xml) or the output of a build",),
    example="edgecompile inspect build/model-intel-nuc",
)
