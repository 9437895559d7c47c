"""`BuildRequest`: what a user asked for, before anything is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The options of `edgecompile build`, unresolved."""

    model: Path
    target: str
    output: Path
    """The build directory to make or replace."""
    release: tuple[str, str] | None = None
    """Software and release on the device, such as `("jetpack", "6.2")`; None is the target's."""
    recipe: str | None = None
    """Name of a shipped recipe or path of a YAML file; None is the target's default."""
    shapes: tuple[str, ...] = ()
    """`SYMBOL=NUMBER` or `INPUT=SHAPE`: shapes of inputs that the model leaves open."""
    calibration: str | None = None
    """Directory, .npz, dataset.yaml or `random:N`; None is no data."""
    eval: str | None = None
    """Evaluation data in the same forms; None holds out part of the calibration data."""
    overrides: tuple[str, ...] = ()
    """`STEP.OPTION=VALUE`, in order."""
    budgets: tuple[str, ...] = ()
    """`METRIC>=VALUE` or `METRIC<=VALUE`; replace the recipe's budget of the same metric."""
    artifacts: tuple[str, ...] = ()
    """Formats to write; empty is all that the target writes unasked."""
    require_npu: bool = False
    """Fail when a node runs elsewhere than on the NPU."""
    threads: int = 1
    """Threads of calibration and verification; more can change the last bits of a range."""
    no_cache: bool = False
    """Neither read nor write the step cache."""
    cache_dir: Path | None = None
    """Root of the cache; None is `$EDGECOMPILE_CACHE_DIR` or the platform's cache folder."""
    locked: bool = False
    """Refuse to build unless every input equals that of the manifest in `output`."""
    dump_ir: Path | None = None
    """Folder that receives the graph after every pass, as text and as ONNX."""
    verify_each: bool = False
    """Check and run the model around every pass."""
