"""External weights after loading: read when needed, in pieces, and never the wrong file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.serde import deserialize_metadata_props

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.model import EXTERNAL_CHANGED
from edgecompile.ir.external import Place, stamp_of
from edgecompile.ir.tensors import size_bytes

_CHUNK_BYTES = 1 << 20


class ExternalWeight(ir.ExternalTensor):
    """A tensor in a file that notices when another file has taken the name of its own."""

    def __init__(self, proto: onnx.TensorProto, place: Place) -> None:
        """Bind a well-formed tensor message to the place that `Resolver` found for it."""
        super().__init__(
            place.file.location,
            place.offset,
            size_bytes(proto),
            ir.DataType(proto.data_type),
            shape=ir.Shape(proto.dims),
            name=proto.name,
            doc_string=proto.doc_string or None,
            metadata_props=deserialize_metadata_props(proto.metadata_props),
            base_dir=place.file.directory,
        )
        self.place = place

    def numpy(self) -> np.ndarray:
        """The data, mapped from the file. Raises EC-122 when the file has changed."""
        self._check_unchanged()
        return super().numpy()

    def tobytes(self) -> bytes:
        """The data as one piece of memory. Raises EC-122 when the file has changed."""
        return b"".join(self.chunks())

    def tofile(self, file: Any) -> None:
        """Copy the data to a binary file. Raises EC-122 when the file has changed."""
        for chunk in self.chunks():
            file.write(chunk)

    def chunks(self) -> Iterator[bytes]:
        """The data in pieces of 1 MiB: a large tensor does not fill the memory.

        Raises EC-122 when the file has changed.
        """
        self._check_unchanged()
        begin, end = self.place.offset, self.place.offset + self.nbytes
        if self.raw is not None:
            for start in range(begin, end, _CHUNK_BYTES):
                yield self.raw[start : min(start + _CHUNK_BYTES, end)]
            return
        with self.place.file.path.open("rb") as file:
            file.seek(begin)
            for start in range(begin, end, _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, end - start)
                chunk = file.read(size)
                if len(chunk) < size:
                    raise self._changed()
                yield chunk

    def _check_unchanged(self) -> None:
        """A mapped file stays as it was, even under another name; else look at it again."""
        if self.raw is None and stamp_of(self.place.file.path) != self.place.file.stamp:
            raise self._changed()

    def _changed(self) -> EdgecompileError:
        where = Where(file=str(self.place.file.path), tensor=self.name)
        return EXTERNAL_CHANGED.error(where, location=self.place.file.location)
