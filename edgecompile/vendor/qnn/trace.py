"""The provider's own account of which nodes it leaves to the CPU, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TRACE = "qnn_op_trace.json"
"""Name of the file that the provider writes."""


def read_trace(path: Path) -> list[dict[str, str]]:
    """`node`, `op` and the vendor's `reason` of every node that the provider did not take.

    Empty when the provider was never asked and wrote none. Raises `ValueError` for a file that is
    not such an account.
    """
    if not path.is_file():
        return []
    document: Any = json.loads(path.read_text(encoding="utf-8"))
    try:
        return [
            {"node": entry["node_name"], "op": entry["op_type"], "reason": entry["reason"]}
            for entry in document["unsupported_nodes"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the trace of operators has another form: {error!r}") from error
