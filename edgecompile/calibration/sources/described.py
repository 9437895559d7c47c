"""A `dataset.yaml`: files by pattern and input, preprocessing, labels, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from edgecompile.calibration.arrays import open_npy, open_npz
from edgecompile.calibration.checks import check_names, quoted, raise_all
from edgecompile.calibration.description import (
    Description,
    Files,
    InputFiles,
    Part,
    read_description,
)
from edgecompile.calibration.fitting import FittedSource, holds
from edgecompile.calibration.kinds import Kind, by_kind, kind_of, lone_files, sorted_files
from edgecompile.calibration.labels import labels_of_file, labels_of_values
from edgecompile.calibration.preprocess import ImageReader, Preprocess
from edgecompile.calibration.sample import Task
from edgecompile.calibration.sources.base import Source
from edgecompile.calibration.sources.column import Column, ColumnSource, FilesColumn, StackColumn
from edgecompile.calibration.sources.images import ImageColumn
from edgecompile.calibration.sources.npz import NpzFilesSource, rank_problems, stacked
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import (
    DATA_KIND,
    DATA_MIXED,
    DATASET_FILES,
    DATASET_KEY,
    DATASET_PATH,
    INPUT_NAME,
)
from edgecompile.diagnostics.located import Loc, Located
from edgecompile.diagnostics.nearest import did_you_mean

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Role
    from edgecompile.ir.facts import TensorSpec


def described(path: Path, inputs: Sequence[TensorSpec], role: Role) -> Source:
    """The samples that a dataset.yaml names for `role`. Raises EC-305 to EC-329."""
    description, document = read_description(path)
    return _Reader(description, document, path.parent, inputs).source(role)


def has_split(source: str, role: Role) -> bool:
    """Whether `source` is a dataset.yaml, or a directory with one, that has samples for `role`."""
    path = Path(source)
    path = path / "dataset.yaml" if path.is_dir() else path
    if path.suffix.lower() not in {".yaml", ".yml"} or not path.is_file():
        return False
    splits = read_description(path)[0].splits
    return splits is not None and getattr(splits, role) is not None


class _Reader:
    """Turns one description into a source; knows where each part of it stands."""

    def __init__(
        self, description: Description, document: Located, root: Path, inputs: Sequence[TensorSpec]
    ) -> None:
        self._description, self._document, self._root = description, document, root
        self._inputs = inputs

    def source(self, role: Role) -> Source:
        part: Part = self._description
        loc: Loc = ()
        if self._description.splits is not None:
            split = getattr(self._description.splits, role)
            if split is None:
                where = self._document.where(("splits",))
                raise DATASET_KEY.error(where, problem=f"'splits' has no samples for '{role}'")
            part, loc = split, ("splits", role)
        if part.inputs is not None:
            source = self._by_input(part.inputs, (*loc, "inputs"))
        else:
            source = self._in_files(part.files or [], (*loc, "files"))
        if part.labels is not None:
            self._label(source, part.labels, (*loc, "labels"))
        return self._fitted(source)

    def _fitted(self, source: Source) -> Source:
        """`source` with what `fit` says done to it. Raises EC-326 for what it cannot mean."""
        fits = self._description.fit
        specs = {spec.name: spec for spec in self._inputs}
        for name, fit in fits.items():
            where = self._document.where(("fit", name), key=True)
            if name not in specs:
                hint = did_you_mean(name, specs, otherwise=f"inputs: {', '.join(specs)}")
                problem = f"'fit' names '{name}', which is not an input of the model"
                raise DATASET_KEY.error(where, problem=problem, hints=(hint,))
            if fit.pad is not None and not holds(specs[name], fit.pad):
                problem = f"'fit.{name}.pad' is {fit.pad}, which {specs[name].dtype} cannot hold"
                raise DATASET_KEY.error(where, problem=problem)
        return FittedSource(source, fits, self._inputs) if fits else source

    def _in_files(self, files: Files, loc: Loc) -> Source:
        """Files for the one input, or `.npz` with every input."""
        kind, found = self._resolve(files, loc)
        if kind == Kind.NPZ:
            if _single(files):
                return stacked(found[0], self._inputs)
            return NpzFilesSource(found, self._root, self._inputs)
        if len(self._inputs) != 1:
            raise lone_files(self._inputs, self._document.where(loc))
        spec = self._inputs[0]
        column = self._column(spec, files, self._description.preprocess, loc)
        return ColumnSource({spec.name: column}, self._document.where(loc))

    def _by_input(self, inputs: Mapping[str, Files | InputFiles], loc: Loc) -> Source:
        where = self._document.where(loc)
        check_names(inputs, self._inputs, where)
        columns: dict[str, Column] = {}
        for spec in self._inputs:
            given, at = inputs[spec.name], (*loc, spec.name)
            preprocess = self._description.preprocess
            if isinstance(given, InputFiles):
                preprocess, given = given.preprocess or preprocess, given.files
                at = (*at, "files")
            columns[spec.name] = self._column(spec, given, preprocess, at)
        return ColumnSource(columns, where)

    def _column(self, spec: TensorSpec, files: Files, preprocess: Preprocess, loc: Loc) -> Column:
        """One input's data: a stack of samples in one array file, or one file per sample."""
        kind, found = self._resolve(files, loc)
        where = self._document.where(loc)
        if kind == Kind.IMAGE:
            return ImageColumn(found, self._root, ImageReader(preprocess, spec, where))
        if not _single(files):
            if kind == Kind.NPZ:
                problem = ".npz files of one sample each hold all inputs"
                hint = "name them under 'files', without 'inputs'"
                raise DATASET_KEY.error(where, problem=problem, hints=(hint,))
            return FilesColumn(found, self._root, spec)
        if kind == Kind.NPY:
            array = open_npy(found[0])
        else:
            arrays = open_npz(found[0])
            key = spec.name if spec.name in arrays or len(arrays) != 1 else next(iter(arrays))
            if key not in arrays:
                problem = f"'{found[0].name}' has no key '{key}', only {quoted(arrays)}"
                raise INPUT_NAME.error(where, problem=problem)
            array = arrays[key]
        raise_all(rank_problems(array, spec, where))
        return StackColumn(array, spec)

    def _resolve(self, files: Files, loc: Loc) -> tuple[Kind, list[Path]]:
        """The files meant, all of one kind, none outside the directory."""
        listed = [(files, loc)] if isinstance(files, str) else _numbered(files, loc)
        found: list[Path] = []
        for text, at in listed:
            where = self._document.where(at)
            matches = self._matches(text, where)
            if not matches:
                raise DATASET_FILES.error(where, pattern=text)
            found += matches
        kinds = by_kind(found)
        where = self._document.where(loc)
        if not kinds:
            raise DATA_KIND.error(where, path=found[0].name)
        if len(kinds) > 1 or sum(map(len, kinds.values())) != len(found):
            text = ", ".join(f"{len(v)} {k}" for k, v in sorted(kinds.items()))
            raise DATA_MIXED.error(where, path=self._root.name, kinds=text)
        return next(iter(kinds.items()))

    def _matches(self, text: str, where: Where) -> list[Path]:
        windows = PureWindowsPath(text)
        if windows.drive or windows.root or ".." in windows.parts:
            raise DATASET_PATH.error(where, path=text)
        if _is_pattern(text):
            found = [f for f in sorted_files(self._root, text) if kind_of(f) is not None]
        else:
            found = [path for path in (self._root / text,) if path.is_file()]
        top = self._root.resolve()
        for path in found:
            if not path.resolve().is_relative_to(top):
                raise DATASET_PATH.error(where, path=path.relative_to(self._root).as_posix())
        return found

    def _label(self, source: Source, labels: Any, loc: Loc) -> None:
        where = self._document.where(loc)
        names = [source.name(i) for i in range(len(source))]
        if isinstance(labels, str):
            found = self._matches(labels, where)
            if not found:
                raise DATASET_FILES.error(where, pattern=labels)
            source.labels = labels_of_file(found[0], names)
        else:
            source.labels = labels_of_values(labels, names, where)
        task = self._description.task
        source.task = Task() if isinstance(task, str) else Task(**task.model_dump())


def _is_pattern(text: str) -> bool:
    return any(c in text for c in "*?[")


def _single(files: Files) -> bool:
    """Whether one file is named outright: its first axis are then the samples."""
    return isinstance(files, str) and not _is_pattern(files)


def _numbered(files: Sequence[str], loc: Loc) -> list[tuple[str, Loc]]:
    return [(text, (*loc, i)) for i, text in enumerate(files)]
