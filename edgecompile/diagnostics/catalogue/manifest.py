"""66x: rules about manifests and reports."""

from edgecompile.diagnostics.core import Rule

BAD_MANIFEST = Rule(
    code="EC-660",
    name="bad-manifest",
    message="'{file}' is not a {kind} of this version: {problem}",
    why="A manifest says what a build was made of; one that cannot be read proves nothing.",
    fix=("build again with 'edgecompile build'",),
    example="edgecompile inspect build/manifest.json",
)
