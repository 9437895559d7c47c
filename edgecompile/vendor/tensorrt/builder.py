"""Worker: an ONNX file to an engine or a plan, the same code for TensorRT and TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.tensorrt import BUILD_FAILED, PARSER_REFUSED
from edgecompile.vendor.tensorrt.library import LIBRARIES, MIB, Library
from edgecompile.vendor.worker import Session

_LINES = 400
"""How many lines of the library's log are kept."""
_NAMED = 20
"""How many refused nodes are told."""


def build(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Build `payload["model"]` into the file `payload["engine"]`.

    `library` is `tensorrt` or `tensorrt-rtx`; `shapes` maps a dynamic input to its smallest, best
    and largest shape; `workspace_mib`, `optimization_level` and `timing_cache` (a file that is read
    and written) may be null; `capabilities`, `precisions`, `layer_precisions`,
    `constraint` and `dla_core` are the library's own.
    Answers `version` and the `warnings` of the log. Raises EC-680, EC-681 and EC-682.
    """
    library, log = _library(payload["library"], session)
    builder = library.api.Builder(log)
    network = builder.create_network(library.network_flags())
    _parse(library, network, log, Path(payload["model"]))
    config = builder.create_builder_config()
    _configure(library, config, payload)
    library.constrain(network, config, payload)
    _profile(builder, network, config, payload["shapes"])
    cache = _timing_cache(config, payload.get("timing_cache"))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BUILD_FAILED.error(library=library.name, reason=log.reason())
    Path(payload["engine"]).write_bytes(bytes(plan))
    if cache is not None:
        Path(payload["timing_cache"]).write_bytes(bytes(cache.serialize()))
    return {"version": str(library.api.__version__), "warnings": log.warnings()}


def probe(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Ask the parser itself about `payload["model"]`: what it refuses, as diagnostics."""
    library, log = _library(payload["library"], session)
    network = library.api.Builder(log).create_network(library.network_flags())
    try:
        _parse(library, network, log, Path(payload["model"]))
    except EdgecompileError as error:
        return {"refused": [d.to_json() for d in error.diagnostics]}
    return {"refused": []}


def _library(name: str, session: Session) -> tuple[Library, Any]:
    """The library and its logger: a process has one, later ones are ignored."""
    if "library" not in session.kept:
        library = LIBRARIES[name]()
        session.kept.update(library=library, log=_logger(library.api))
    log = session.kept["log"]
    log.lines.clear()
    return session.kept["library"], log


def _logger(api: Any) -> Any:
    class Log(api.ILogger):  # type: ignore[misc]
        """Keeps what matters, and prints it for the log of the worker."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.lines: list[tuple[Any, str]] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by the library, also from its threads."""
            if severity in (api.ILogger.VERBOSE, api.ILogger.INFO):
                return
            print(message, flush=True)  # noqa: T201  (the guarded process keeps it as the log)
            if len(self.lines) < _LINES:
                self.lines.append((severity, message))

        def warnings(self) -> list[str]:
            """Each once, in order."""
            found = (text for severity, text in self.lines if severity == api.ILogger.WARNING)
            return list(dict.fromkeys(found))

        def reason(self) -> str:
            """The first error: those that follow come from it."""
            bad = (api.ILogger.ERROR, api.ILogger.INTERNAL_ERROR)
            found = [text for severity, text in self.lines if severity in bad]
            return " ".join(found[0].split()) if found else "it gives no reason"

    return Log()


def _parse(library: Library, network: Any, log: Any, model: Path) -> None:
    parser = library.api.OnnxParser(network, log)
    if parser.parse_from_file(str(model)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    found = tuple(_refused(library, error) for error in errors[:_NAMED])
    if not found:
        raise PARSER_REFUSED.error(library=library.name, what="the model", reason=log.reason())
    raise EdgecompileError(found, PARSER_REFUSED.exit_code)


def _refused(library: Library, error: Any) -> Diagnostic:
    """Which node, and why. Older parsers tell the node's number only."""
    name = _told(error, "node_name")
    op = _told(error, "node_operator")
    what = f"{op} '{name}'" if op else f"node {error.node()}"
    where = Where(node=name or None)
    reason = " ".join(str(error.desc()).split()) or "it gives no reason"
    return PARSER_REFUSED.at(where, library=library.name, what=what, reason=reason)


def _told(error: Any, method: str) -> str:
    ask = getattr(error, method, None)
    return "" if ask is None else str(ask() or "")


def _configure(library: Library, config: Any, payload: Mapping[str, Any]) -> None:
    api = library.api
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    workspace = payload.get("workspace_mib")
    if workspace is not None:
        if hasattr(config, "set_memory_pool_limit"):
            config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, workspace * MIB)
        else:  # before TensorRT 8.4
            config.max_workspace_size = workspace * MIB
    level = payload.get("optimization_level")
    if level is not None and hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = level
    library.configure(config, payload)


def _profile(
    builder: Any, network: Any, config: Any, shapes: Mapping[str, list[list[int]]]
) -> None:
    """One optimization profile for all dynamic inputs; none when there are none."""
    if not shapes:
        return
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        if name in shapes:
            profile.set_shape(name, *(tuple(shape) for shape in shapes[name]))
    config.add_optimization_profile(profile)


def _timing_cache(config: Any, path: str | None) -> Any:
    """The cache in the file, or an empty one where that is damaged or of another GPU or version."""
    if path is None:
        return None
    held = Path(path).read_bytes() if Path(path).is_file() else b""
    for content in (held, b"") if held else (b"",):
        cache = config.create_timing_cache(content)
        # releases before 8.6 answer nothing
        if cache is not None and config.set_timing_cache(cache, False) is not False:
            return cache
    return None
