"""Worker: run a context binary through its wrapper, on a Hexagon NPU or in QNN's emulator of it.

`open_model` first, then `run` for every batch of samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecompile.vendor.qnn.compile import CONTEXT
from edgecompile.vendor.qnn.provider import open_session, session_options
from edgecompile.vendor.worker import Session


def open_model(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Load the wrapper `payload["model"]` with the provider's `options`; its outputs, in order.

    Raises `ValueError` for a model without a compiled graph, which the CPU would run from end to
    end, and what onnxruntime raises when the provider does not take the binary.
    """
    import onnx

    wrapper = onnx.load(payload["model"], load_external_data=False)
    if all(node.op_type != CONTEXT for node in wrapper.graph.node):
        raise ValueError("the model holds no compiled graph: all of it would run on the CPU")
    options = session_options(session, payload["options"])
    options.intra_op_num_threads = payload["threads"]
    opened = open_session(payload["model"], options)
    session.kept["opened"] = opened
    return {"outputs": [port.name for port in opened.get_outputs()]}


def run(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Run the samples in the .npz `feeds`; save the outputs to the .npz `results`.

    `feeds` holds `0/0`, `0/1`, ... for the inputs named in `inputs`, then `1/0` and so on for the
    next of `samples` samples; `results` holds the outputs in the same way.
    """
    opened, found = session.kept["opened"], {}
    with np.load(payload["feeds"]) as stored:
        for at in range(payload["samples"]):
            feeds = {name: stored[f"{at}/{i}"] for i, name in enumerate(payload["inputs"])}
            for i, output in enumerate(opened.run(None, feeds)):
                found[f"{at}/{i}"] = output
            session.progress(at + 1, payload["samples"])
    np.savez(payload["results"], **found)
    return {}
