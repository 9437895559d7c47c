"""Models: safe loading, saving, the canonical digest, and facts about graphs."""

from edgecompile.ir._deferred import import_onnx_ir

import_onnx_ir()

from edgecompile.ir.limits import Limits  # noqa: E402
from edgecompile.ir.load import load  # noqa: E402
from edgecompile.ir.model import Digest, Model  # noqa: E402
from edgecompile.ir.save import save, to_bytes  # noqa: E402

__all__ = ["Digest", "Limits", "Model", "load", "save", "to_bytes"]
