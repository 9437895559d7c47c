"""OpenVINO 2021.4.2's MYRIAD plugin, in its own environment: what it takes, and blobs.

Without a stick the plugin compiles, puts the blob into its cache, and then says that there is no
device: that one error is expected. It polls for a device all the while, one line of log each time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NO_DEVICE = ("no available devices", "Can not init Myriad device")
_PLATFORM = {"VPU_MYRIAD_PLATFORM": "VPU_MYRIAD_2480"}
"""Myriad X. Without it the plugin wants a device before it compiles."""
_NOISE = b"xLinkUsb"
_ONLY_VALUES = ("Parameter", "Result", "Constant")


def query(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Ask the plugin about every layer of the ONNX file `model`.

    Answers `refused`: name and type of each layer that it does not take, and `problem`: why it
    does not take the model at all, or an empty string.
    """
    engine, network, problem = _read(payload["model"], session)
    if problem:
        return {"refused": [], "problem": problem}
    import ngraph

    try:
        taken = set(engine.query_network(network, "MYRIAD"))
    except RuntimeError as error:
        return {"refused": [], "problem": _words(error)}
    layers = [
        (op.get_friendly_name(), op.get_type_name())
        for op in ngraph.function_from_cnn(network).get_ops()
    ]
    refused = [
        {"name": name, "type": kind}
        for name, kind in layers
        if kind not in _ONLY_VALUES and name not in taken
    ]
    return {"refused": refused, "problem": ""}


def compile_blob(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Compile the ONNX file `model` and write the blob to `output`; give the compiler's version.

    Raises `RuntimeError` when the plugin does not take the model.
    """
    cache = Path("blobs").resolve()
    cache.mkdir()
    engine, network, problem = _read(payload["model"], session)
    if problem:
        raise RuntimeError(problem)
    engine.set_config({"CACHE_DIR": str(cache)}, "")
    try:
        with _quiet():
            engine.load_network(network, "MYRIAD", _PLATFORM)
    except RuntimeError as error:
        if not any(text in str(error) for text in _NO_DEVICE):
            raise RuntimeError(_words(error)) from None
    found = sorted(cache.glob("*.blob"))
    if len(found) != 1:
        raise RuntimeError("the plugin compiled nothing")
    # the cache puts one line about itself before the blob
    line, _, blob = found[0].read_bytes().partition(b"\n")
    Path(payload["output"]).write_bytes(blob)
    return {"header": line.decode("utf-8", errors="replace")}


def _read(path: str, session: Any) -> Any:
    """The engine, the network and, where there is none, why."""
    engine = session.kept.get("engine")
    if engine is None:
        import libusb_package

        # the plugin finds it by its name once it is loaded
        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        from openvino.inference_engine import IECore

        engine = session.kept["engine"] = IECore()
    try:
        return engine, engine.read_network(path), ""
    except RuntimeError as error:
        return engine, None, _words(error)


def _words(error: Exception) -> str:
    """The message without the places in the C++ source."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and line != "[ GENERAL_ERROR ]"]
    return " ".join(line.split(".cpp:", 1)[-1] if ".cpp:" in line else line for line in kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the polling's lines out of the log while the block runs."""
    reading, writing = os.pipe()
    saved = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)

    def copy() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                if _NOISE not in line:
                    os.write(saved, line)

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        yield
    finally:
        os.dup2(saved, 2)
        thread.join(10.0)
        os.close(saved)
