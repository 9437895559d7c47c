"""Worker: onnxruntime with Qualcomm's execution provider, registered once per process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecompile.vendor.worker import Session

PROVIDER = "QNNExecutionProvider"


def session_options(
    session: Session, options: Mapping[str, str], entries: Mapping[str, str] | None = None
) -> Any:
    """`SessionOptions` for the provider with `options`; `entries` are onnxruntime's own settings.

    Raises `RuntimeError` where the provider offers no device at all.
    """
    import onnxruntime as ort
    import onnxruntime_qnn

    if "devices" not in session.kept:
        ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
        session.kept["devices"] = [d for d in ort.get_ep_devices() if d.ep_name == PROVIDER]
    if not session.kept["devices"]:
        raise RuntimeError("onnxruntime-qnn offers no device on this machine")
    made = ort.SessionOptions()
    for key, value in (entries or {}).items():
        made.add_session_config_entry(key, value)
    made.add_provider_for_devices(session.kept["devices"], dict(options))
    return made


def open_session(model: str, options: Any) -> Any:
    """A session that ends with an error where the provider does.

    onnxruntime's Python layer would print a line and run everything again on the CPU.
    """
    import onnxruntime as ort

    return ort.InferenceSession(model, options, enable_fallback=0)
