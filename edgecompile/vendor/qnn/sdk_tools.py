"""Worker: the tools of Qualcomm's SDK on a DLC, with the runner that devices get.

The commands are those of Qualcomm's documentation (80-63442-10, "Tools"); no SDK was there to try
them: the tests hold them against stand-ins that read the same arguments.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.vendor.worker import Session

_SHOWN = 200


def read_dlc(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Let the SDK's `tool` (`qairt-dlc-info`, `snpe-dlc-info`) read the DLC `dlc`; what it `said`.

    `runner` is the file of the kit's runner. Raises `RuntimeError` when the tool refuses the file
    or says nothing of it.
    """
    runner = _runner(payload, session)
    tool = runner.find(payload["tool"])
    said = runner.call([tool, "-i", payload["dlc"]])
    if not said:
        raise RuntimeError(f"{payload['tool']} says nothing of the DLC")
    return {"said": said[:_SHOWN]}


def open_dlc(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Prepare `tool` to run `dlc`; `outputs` maps each output to its shape."""
    runner = _runner(payload, session)
    shapes = Path("shapes.npz").resolve()
    arrays = {f"float/0/{n}": np.zeros(s, np.float32) for n, s in payload["outputs"].items()}
    np.savez(shapes, **arrays)  # type: ignore[arg-type]
    kit = {
        "options": {"tool": payload["tool"]},
        "outputs": list(payload["outputs"]),
        "golden": {"file": str(shapes)},
    }
    session.kept["loaded"] = runner.load(payload["dlc"], kit)
    return {}


def run(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Run the samples of the .npz `feeds`; save the outputs to `results`, as `runner.run` does."""
    found: dict[str, Any] = {}
    names: list[str] = []
    with np.load(payload["feeds"]) as stored:
        for at in range(payload["samples"]):
            feeds = {name: stored[f"{at}/{i}"] for i, name in enumerate(payload["inputs"])}
            got = session.kept["loaded"].run(feeds)
            names = sorted(got)
            found |= {f"{at}/{i}": got[name] for i, name in enumerate(names)}
            session.progress(at + 1, payload["samples"])
    np.savez(payload["results"], **found)
    return {"outputs": names}


def _runner(payload: dict[str, Any], session: Session) -> Any:
    if "runner" not in session.kept:
        spec = importlib.util.spec_from_file_location("edgecompile_runner", payload["runner"])
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load '{payload['runner']}'")
        session.kept["runner"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(session.kept["runner"])
    return session.kept["runner"]
