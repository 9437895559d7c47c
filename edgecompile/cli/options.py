"""Options that commands share, or that would make a command's function hard to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli.completion import complete_methods, complete_recipes, complete_targets

if TYPE_CHECKING:
    from edgecompile.driver.request import BuildRequest

ACCURACY = "Accuracy"
CACHE = "Cache"
INSIDE = "Looking inside"

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The trained model, ONNX.", show_default=False)
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="Device; 'edgecompile targets' lists them.",
        autocompletion=complete_targets,
        show_default=False,
    ),
]
JetpackOption = Annotated[
    str | None,
    typer.Option(
        "--jetpack",
        metavar="RELEASE",
        help="JetPack on the Jetson, such as 6.2. (default: the target's)",
    ),
]
TensorRtOption = Annotated[
    str | None,
    typer.Option(
        "--tensorrt",
        metavar="RELEASE",
        help="TensorRT on the server, such as 11. (default: the target's)",
    ),
]
BuilderOption = Annotated[
    str | None,
    typer.Option(
        "--builder",
        metavar="ssh://USER@DEVICE",
        help="Prove the artifact on this device: copy it there, build, run, bring all of it home.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Build directory. (default: build/MODEL-TARGET)"
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="RECIPE",
        help="Name, or path of a YAML file. (default: the target's)",
        autocompletion=complete_recipes,
    ),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        "-c",
        metavar="PATH",
        help="Samples: a folder of images or .npy, an .npz, a dataset.yaml.",
    ),
]
NeededCalibrationOption = Annotated[
    str,
    typer.Option(
        "--calibration",
        "-c",
        metavar="PATH",
        help="Samples: a folder of images or .npy, an .npz, a dataset.yaml.",
        show_default=False,
    ),
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=VALUE",
        help="Fix a shape that the model leaves open: L=128, or ids=1x128. Repeatable.",
    ),
]
EvalOption = Annotated[
    str | None,
    typer.Option(
        "--eval",
        metavar="PATH",
        help="Samples to verify on; labelled ones give task accuracy.",
        rich_help_panel=ACCURACY,
    ),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="METRIC>=VALUE",
        help="Fail when a figure misses this, such as cosine>=0.99. Repeatable.",
        rich_help_panel=ACCURACY,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STEP.OPTION=VALUE",
        help="Change an option of a step of the recipe. Repeatable.",
    ),
]
ArtifactOption = Annotated[
    list[str] | None,
    typer.Option(
        "--artifact",
        metavar="FORMAT",
        help="Write this format of the target's, and no other. Repeatable.",
    ),
]
RequireNpuOption = Annotated[
    bool,
    typer.Option(
        "--require-npu", help="Fail when a node runs elsewhere.", rich_help_panel=ACCURACY
    ),
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=1, help="Threads of calibration and verification.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and what is missing; build nothing.")
]
LockedOption = Annotated[
    bool,
    typer.Option(
        "--locked",
        help="Refuse unless every input is that of the manifest in the output.",
        rich_help_panel=CACHE,
    ),
]
NoCacheOption = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Neither read nor write the step cache.", rich_help_panel=CACHE
    ),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        help="Folder of the step cache. (default: EDGECOMPILE_CACHE_DIR, or the user's)",
        rich_help_panel=CACHE,
    ),
]
DumpIrOption = Annotated[
    Path | None,
    typer.Option(
        "--dump-ir",
        metavar="DIR",
        help="Write the graph after every pass to DIR.",
        rich_help_panel=INSIDE,
    ),
]
VerifyEachOption = Annotated[
    bool,
    typer.Option(
        "--verify-each",
        help="Check and run the model around every pass (slow).",
        rich_help_panel=INSIDE,
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        "-m",
        metavar="METHOD",
        help="How ranges are made from what was observed.",
        autocompletion=complete_methods,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every command takes that runs a recipe on a model for a device."""

    model: ModelArgument
    target: TargetOption
    jetpack: JetpackOption = None
    tensorrt: TensorRtOption = None
    shapes: ShapeOption = None
    recipe: RecipeOption = None
    calibration: CalibrationOption = None
    evaluation: EvalOption = None
    overrides: SetOption = None
    threads: ThreadsOption = 1
    cache_dir: CacheDirOption = None

    def request(self, output: Path | None, **more: Any) -> BuildRequest:
        """As the driver takes it; `output` is build/MODEL-TARGET unless named, `more` the rest."""
        from edgecompile.driver.request import BuildRequest

        return BuildRequest(
            model=self.model,
            target=self.target,
            release=release_of(self.jetpack, self.tensorrt),
            output=output or Path("build") / f"{self.model.stem}-{self.target}",
            recipe=self.recipe,
            shapes=tuple(self.shapes or ()),
            calibration=self.calibration,
            eval=self.evaluation,
            overrides=tuple(self.overrides or ()),
            threads=self.threads,
            cache_dir=self.cache_dir,
            **more,
        )


def release_of(jetpack: str | None, tensorrt: str | None) -> tuple[str, str] | None:
    """The release of the device's software that the user has named, if any."""
    named = {"jetpack": jetpack, "tensorrt": tensorrt}
    return next(((stack, release) for stack, release in named.items() if release), None)
