"""Runs a model on a Cloud AI 100 with the SDK's Python package. Python 3.6 or newer.

Compiles first where the bundle holds no program container, with `compile.sh` beside the model.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np

ERRORS = (RuntimeError, ImportError, OSError, subprocess.CalledProcessError)
HERE = Path(__file__).resolve().parent


class Loaded:
    """A session on the card; `built` names the container when it was compiled here."""

    def __init__(self, bundle, kit):
        container = bundle / "programqpc.bin"
        self.built = []
        if not container.is_file():
            if kit["options"]["precision"] == "int8":
                write_inputs(kit)
            subprocess.check_call(["sh", str(bundle / "compile.sh")])
            container = HERE / "programqpc.bin"
            shutil.copyfile(str(bundle / "qpc" / "programqpc.bin"), str(container))
            self.built = [{"file": container.name, "format": "qaic-bundle", "executable": True}]
        import qaic

        self._session = qaic.Session(str(container))
        self.runtime = "qaic"
        self.device = "Cloud AI 100"
        self.facts = {"container_sha256": hashlib.sha256(container.read_bytes()).hexdigest()}

    def run(self, feeds) -> dict:
        return {name: np.asarray(v) for name, v in self._session.run(feeds).items()}


def write_inputs(kit) -> None:
    """Raw files of the golden inputs and their list, for the compiler's profile."""
    golden = np.load(str(HERE / kit["golden"]["file"]), allow_pickle=False)
    lines = []
    for sample in range(kit["golden"]["samples"]):
        names = []
        for number, entry in enumerate(kit["inputs"]):
            path = HERE / ("input-%d-%d.raw" % (sample, number))
            golden["input/%d/%s" % (sample, entry["name"])].tofile(str(path))
            names.append(str(path))
        lines.append(",".join(names))
    (HERE / "inputs.txt").write_text("\n".join(lines) + "\n")


def load(path, kit) -> Loaded:
    return Loaded(Path(path).resolve().parent, kit)
