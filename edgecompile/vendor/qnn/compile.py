"""Worker: ONNX files to QNN context binaries, and an account of what was really built.

The compiler takes option names that it does not know, replaces chips that it does not know, and
reports success for both: nothing here trusts an exit code, see `describe`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgecompile.vendor.qnn.provider import session_options
from edgecompile.vendor.qnn.system import describe_binary
from edgecompile.vendor.qnn.trace import TRACE, read_trace
from edgecompile.vendor.worker import Session

CONTEXT = "EPContext"
_SHARE, _STOP_SHARING = "ep.share_ep_contexts", "ep.stop_share_ep_contexts"
_NOTHING = "Unable to compile any nodes"


def compile_models(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Compile `payload["models"]` (`model`, `wrapper`) in `folder` with the provider's `options`.

    Several models share one context binary, and equal weights in it. `embed` puts the binary into
    the wrapper. Answers a description of each wrapper, what it leaves to the CPU, and a description
    of each binary; `refused` is the vendor's message when it takes nothing of a model.
    """
    folder = Path(payload["folder"])
    # The provider names its graphs after a digest that the model's path goes into.
    os.chdir(folder)
    models, told = payload["models"], []
    for at, one in enumerate(models):
        sharing = {}
        if len(models) > 1:
            last = at == len(models) - 1
            sharing = {_SHARE: "1", **({_STOP_SHARING: "1"} if last else {})}
        left_out, refused = _compile(one, payload, sharing, session)
        if refused:
            return {"refused": refused, "left_out": left_out}
        told.append(left_out)
        session.progress(at + 1, len(models))
    wrappers = [Wrapper(one["wrapper"]) for one in models]
    blobs: dict[str, bytes] = {}
    if payload["embed"]:
        blobs = {one["wrapper"]: w.embedded for one, w in zip(models, wrappers, strict=True)}
    else:
        # Models that share a binary name one file; the first of them gives it its name.
        (written,) = {name for wrapper in wrappers for name in wrapper.binaries}
        Path(written).rename(payload["binary"])
        blobs = {payload["binary"]: Path(payload["binary"]).read_bytes()}
    found = []
    for one, wrapper, left_out in zip(models, wrappers, told, strict=True):
        wrapper.finish(one["metadata"], payload["binary"])
        found.append({**wrapper.described(), "left_out": left_out})
    return {"models": found, "binaries": {n: describe_binary(b) for n, b in blobs.items()}}


def _compile(
    one: dict[str, Any], payload: dict[str, Any], sharing: dict[str, str], session: Session
) -> tuple[list[dict[str, str]], str]:
    """What the provider leaves out of a model, and its message when it takes nothing at all."""
    import onnxruntime as ort
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    traces = Path(f"{one['wrapper']}.trace").resolve()
    traces.mkdir()
    options = {
        **payload["options"],
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": str(traces),
    }
    compiler = ort.ModelCompiler(
        session_options(session, options, sharing),
        one["model"],
        embed_compiled_data_into_model=payload["embed"],
        flags=ort.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED,
    )
    refused = ""
    try:
        compiler.compile_to_file(one["wrapper"])
    except Fail as error:
        refused = str(error)
        if _NOTHING not in refused:
            raise
    return read_trace(traces / TRACE), refused


class Wrapper:
    """An ONNX file whose EPContext nodes stand for compiled graphs."""

    def __init__(self, path: str) -> None:
        """Read the wrapper at `path`. Its binary may lie beside it or inside."""
        import onnx

        self._path = path
        self._model = onnx.load(path, load_external_data=False)
        self.binaries: set[str] = set()
        """Names of the files that it needs."""
        self.embedded = b""
        self.contexts: list[str] = []
        """Names of its graphs in the binary."""
        for node in self._contexts():
            values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            self.contexts.append(values["partition_name"].decode())
            content = values.get("ep_cache_context", b"")
            if content and values["embed_mode"]:
                self.embedded = content
            elif content:
                self.binaries.add(content.decode())

    def _contexts(self) -> list[Any]:
        return [node for node in self._model.graph.node if node.op_type == CONTEXT]

    def finish(self, metadata: dict[str, str], binary: str) -> None:
        """Name the file of the binary, put the model's `metadata` back in, and save."""
        import onnx

        if self.binaries:
            for node in self._contexts():
                for attribute in node.attribute:
                    if attribute.name == "ep_cache_context" and attribute.s:
                        attribute.s = binary.encode()
            self.binaries = {binary}
        for node in self._contexts():
            # The provider writes them in the order of a hash map.
            kept = sorted(node.attribute, key=lambda attribute: attribute.name)
            del node.attribute[:]
            node.attribute.extend(kept)
        known = {entry.key: entry.value for entry in self._model.metadata_props}
        onnx.helper.set_model_props(self._model, dict(sorted({**known, **metadata}.items())))
        Path(self._path).write_bytes(self._model.SerializeToString(deterministic=True))

    def described(self) -> dict[str, Any]:
        """Interface, graphs, and `others`: the nodes that onnxruntime runs on the CPU."""
        graph = self._model.graph
        others = [node for node in graph.node if node.op_type != CONTEXT]
        return {
            "inputs": [_port(value) for value in graph.input],
            "outputs": [_port(value) for value in graph.output],
            "contexts": self.contexts,
            "others": [{"node": n.name or n.output[0], "op": n.op_type} for n in others],
        }


def _port(value: Any) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "dtype": onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        "shape": [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim],
    }
