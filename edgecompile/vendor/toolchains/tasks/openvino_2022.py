"""OpenVINO 2022.3's CPU plugin, in its own environment: does an IR of today load and compute."""

from __future__ import annotations

from typing import Any


def run(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Run the IR `model` on the arrays of the .npz `feeds`; save its outputs to `results`."""
    import numpy as np
    from openvino.runtime import Core, get_version

    del session
    core = Core()
    compiled = core.compile_model(core.read_model(payload["model"]), "CPU")
    with np.load(payload["feeds"], allow_pickle=False) as stored:
        found = compiled.infer_new_request({name: stored[name] for name in stored.files})
    named = {port.get_any_name(): value for port, value in found.items()}
    np.savez(payload["results"], **named)
    return {"version": get_version()}
