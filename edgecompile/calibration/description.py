"""The schema of `dataset.yaml`, and what is wrong with one, by line and column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgecompile.calibration.fitting import Fit
from edgecompile.calibration.preprocess import Preprocess
from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.data import DATASET_KEY, DATASET_SYNTAX
from edgecompile.diagnostics.located import Loc, Located, read_yaml
from edgecompile.diagnostics.nearest import did_you_mean

SCHEMA = "edgecompile/dataset@1"
Files = str | Annotated[list[str], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputFiles(_Strict):
    """The data of one model input."""

    files: Files
    """A path, a pattern (`*`, `**`), or a list of paths, below the directory of the file."""
    preprocess: Preprocess | None = None
    """For images: in place of the preprocessing stated for all inputs."""


class Part(_Strict):
    """Samples: files for the one input, or files by input, and labels."""

    files: Files | None = None
    """For models with one input; or `.npz` files with one key per input."""
    inputs: dict[str, Files | InputFiles] | None = None
    """Input name -> its files. The i-th file of each input belongs to sample i."""
    labels: str | list[int | list[int]] | dict[str, int | list[int]] | None = None
    """Class ids in the order of the samples, ids by file name, or a `.npy` or `.json` of either.
    A list in place of an id: any of these is right."""

    @property
    def stated(self) -> bool:
        """Whether any samples are named."""
        return self.files is not None or self.inputs is not None

    @model_validator(mode="after")
    def _one_way(self) -> Part:
        if self.files is not None and self.inputs is not None:
            raise ValueError("has both 'files' and 'inputs': give one of them")
        return self


class TaskBlock(_Strict):
    """What the labels mean."""

    kind: Literal["classification"]
    output: str | None = None
    """Model output with the class scores; the first one by default."""
    classes: tuple[str, ...] = ()
    """Names of the classes, by id."""


class Splits(_Strict):
    """Samples by use."""

    calibration: Part | None = None
    evaluation: Part | None = None


class Description(Part):
    """A whole `dataset.yaml`."""

    schema_: Annotated[Literal["edgecompile/dataset@1"], Field(alias="schema")]
    name: str | None = None
    """For people."""
    preprocess: Preprocess = Preprocess()
    """For all image inputs."""
    fit: dict[str, Fit] = Field(default_factory=dict)
    """Input name -> how samples of other lengths are made to fit an input of fixed shape."""
    task: Literal["classification"] | TaskBlock = "classification"
    splits: Splits | None = None
    """In place of samples at the top: separate ones to calibrate and to evaluate with."""

    @model_validator(mode="after")
    def _samples_somewhere(self) -> Description:
        if self.splits is None and not self.stated:
            raise ValueError("names no samples: give 'files', 'inputs' or 'splits'")
        if self.splits is not None and (self.stated or self.labels is not None):
            raise ValueError("has samples both at the top and in 'splits': give one of them")
        return self


def read_description(path: Path) -> tuple[Description, Located]:
    """Read a dataset.yaml. Raises EC-325 for its syntax, EC-326 for all that does not fit."""
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DATASET_SYNTAX.error(problem=f"not UTF-8: {error.reason}") from None
    document = read_yaml(text, file, DATASET_SYNTAX)
    if not isinstance(document.value, Mapping):
        raise DATASET_KEY.error(document.where(()), problem="the file must hold keys and values")
    try:
        return Description.model_validate(document.value), document
    except ValidationError as error:
        problems = _problems(error, document)
    raise EdgecompileError(tuple(problems), DATASET_KEY.exit_code)


def _problems(error: ValidationError, document: Located) -> list[Diagnostic]:
    """One diagnostic per place. Of alternatives that all fail, those that go deepest count."""
    errors = [(_place(item, document), item) for item in error.errors(include_url=False)]
    places = {place for place, _ in errors}
    found: dict[Loc, list[Diagnostic]] = {}
    for place, item in errors:
        inner = any(len(p) > len(place) and p[: len(place)] == place for p in places)
        if not (inner and item["type"] in _WRONG_TYPE):
            found.setdefault(place, []).append(_problem(item, place, document))
    return sorted(
        map(_merged, found.values()), key=lambda d: (d.where.line or 0, d.where.column or 0)
    )


def _merged(problems: list[Diagnostic]) -> Diagnostic:
    """One diagnostic for alternatives that all fail at one place: `must be a list or a string`."""
    first, *rest = dict.fromkeys(problem.message for problem in problems)
    also = "".join(f" or {text.rsplit(' must be ')[-1]}" for text in rest if " must be " in text)
    return dataclasses.replace(problems[0], message=first + also)


_WRONG_TYPE = {
    "string_type": "must be a text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "literal_error": "",
}
"""What pydantic says of values of the wrong type, in words for people who write YAML."""


def _place(item: Mapping[str, Any], document: Located) -> Loc:
    """The place in the document: pydantic also names the alternatives that it tried."""
    place: Loc = ()
    for part in item["loc"]:
        if (*place, part) in document.values:
            place = (*place, part)
    missing = item["type"] == "missing" and isinstance(item["loc"][-1], str)
    return (*place, item["loc"][-1]) if missing else place


def _problem(item: Mapping[str, Any], place: Loc, document: Located) -> Diagnostic:
    path = ".".join(str(part) for part in place)
    if item["type"] == "extra_forbidden":
        names = _known_keys(place[:-1])
        hint = did_you_mean(str(place[-1]), names, otherwise=f"known keys: {', '.join(names)}")
        where = document.where(place, key=True)
        return DATASET_KEY.at(where, problem=f"unknown key '{path}'", hints=(hint,))
    text = str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    text = _WRONG_TYPE.get(item["type"]) or text[:1].lower() + text[1:]
    if item["type"] == "missing":
        text = "is missing" if isinstance(item["loc"][-1], str) else "has too few values"
    named = f"'{path}' {text}" if path else f"the file {text}"
    return DATASET_KEY.at(document.where(place), problem=named)


def _known_keys(place: Loc) -> list[str]:
    """The keys that the block at `place` takes."""
    blocks: dict[Any, type[BaseModel]] = {
        "preprocess": Preprocess,
        "splits": Splits,
        "calibration": Part,
        "evaluation": Part,
        "task": TaskBlock,
    }
    below = Fit if place[:1] == ("fit",) else InputFiles
    block = blocks.get(place[-1], below) if place else Description
    return sorted(field.alias or name for name, field in block.model_fields.items())
