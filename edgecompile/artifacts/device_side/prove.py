"""Prove the artifact on this device: run the golden inputs, compare, write a report.

    python3 prove.py [--artifact FILE] [--runs N]

Copied into the folder `device` beside every artifact that edgecompile could not run in the device's
own runtime. Needs Python 3.6 or newer, numpy, and whatever the runner beside it imports: keep the
syntax that old. Writes `device-report.json` and `device-outputs.npz` here; bring both back and run
`edgecompile prove BUILD_DIRECTORY`. Exit code 0 when every output is near enough, 1 when one is
not, 3 when the artifact could not be run.
"""

import argparse
import hashlib
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
WARM_UPS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the golden inputs on this device.")
    parser.add_argument("--artifact", help="file to run instead of the one that was built")
    parser.add_argument("--runs", type=int, default=20, help="inferences to time, default 20")
    options = parser.parse_args()
    kit = json.loads((HERE / "kit.json").read_text(encoding="utf-8"))
    golden = np.load(str(HERE / kit["golden"]["file"]), allow_pickle=False)
    artifact = Path(options.artifact) if options.artifact else HERE.parent / kit["artifact"]["path"]
    if sha256(HERE / kit["golden"]["file"]) != kit["golden"]["sha256"]:
        return fail("golden data", "the file is not the one that was built")
    if not options.artifact and digest(kit["artifact"]["files"]) != kit["artifact"]["sha256"]:
        return fail(str(artifact), "the files are not those that were built")
    sys.path.insert(0, str(HERE))
    import runner

    try:
        loaded = runner.load(str(artifact), kit)
    except runner.ERRORS as error:
        return fail(str(artifact), str(error))
    report, outputs = prove(loaded, kit, golden, options.runs)
    report["artifact"] = {
        "path": kit["artifact"]["path"],
        "sha256": kit["artifact"]["sha256"],
        "replaced_by": None if not options.artifact else sha256(artifact),
    }
    write(report, outputs)
    return tell(report)


def prove(loaded, kit, golden, runs) -> tuple:
    """The report, and every output that the device gave, by its key in the golden data."""
    totals = {}
    outputs = {}
    for sample in range(kit["golden"]["samples"]):
        feeds = {i["name"]: golden["input/%d/%s" % (sample, i["name"])] for i in kit["inputs"]}
        got = loaded.run(feeds)
        for name in kit["outputs"]:
            key = "%d/%s" % (sample, name)
            value = np.asarray(got[name])
            outputs["device/" + key] = value
            totals.setdefault(name, []).append(figures(golden["float/" + key], value))
    found = {name: merged(parts, kit["limits"][name]) for name, parts in totals.items()}
    report = {
        "schema": "edgecompile/device-report@1",
        "kit_sha256": sha256(HERE / "kit.json"),
        "device": {
            "machine": platform.machine(),
            "system": platform.system(),
            "node": getattr(loaded, "device", platform.processor()) or "unknown",
        },
        "runtime": loaded.runtime,
        "samples": kit["golden"]["samples"],
        "outputs": found,
        "latency_ms": timed(loaded, kit, golden, runs),
        "passed": all(figure["passed"] for figure in found.values()),
        "built": [dict(b, sha256=sha256(HERE / b["file"])) for b in getattr(loaded, "built", [])],
        "facts": getattr(loaded, "facts", {}),
    }
    return report, outputs


def figures(want, got) -> dict:
    """Cosine, powers of signal and error, and the largest difference of one output."""
    if want.shape != got.shape:
        return {"cosine": 0.0, "signal": 1.0, "noise": float("inf"), "max_abs": float("inf")}
    want = want.astype(np.float64).ravel()
    got = got.astype(np.float64).ravel()
    known = np.isfinite(want)
    if not np.isfinite(got[known]).all():
        return {"cosine": 0.0, "signal": 1.0, "noise": float("inf"), "max_abs": float("inf")}
    want, got = want[known], got[known]
    norms = float(np.sqrt(want.dot(want) * got.dot(got)))
    error = got - want
    return {
        "cosine": float(want.dot(got)) / norms if norms else float(not want.any()),
        "signal": float(want.dot(want)),
        "noise": float(error.dot(error)),
        "max_abs": float(np.abs(error).max()) if error.size else 0.0,
    }


def merged(parts, limit) -> dict:
    """One output over all samples, held against its limit."""
    noise = sum(part["noise"] for part in parts)
    signal = sum(part["signal"] for part in parts)
    cosine = sum(part["cosine"] for part in parts) / len(parts)
    sqnr = 10.0 * np.log10(signal / noise) if noise and signal else 0.0 if noise else None
    return {
        "cosine": cosine,
        "sqnr_db": None if sqnr is None or not np.isfinite(sqnr) else float(sqnr),
        "max_abs": finite(max(part["max_abs"] for part in parts)),
        "limit": limit,
        "passed": bool(cosine >= limit),
    }


def finite(value) -> object:
    return value if np.isfinite(value) else None


def timed(loaded, kit, golden, runs) -> dict:
    """Median and 90th percentile of one inference of the first sample."""
    feeds = {i["name"]: golden["input/0/%s" % i["name"]] for i in kit["inputs"]}
    for _ in range(WARM_UPS):
        loaded.run(feeds)
    times = []
    for _ in range(max(1, runs)):
        start = time.perf_counter()
        loaded.run(feeds)
        times.append(1000.0 * (time.perf_counter() - start))
    times.sort()
    return {
        "median": times[len(times) // 2],
        "p90": times[min(len(times) - 1, int(0.9 * len(times)))],
        "runs": len(times),
    }


def sha256(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def digest(files) -> str:
    """The digest of an artifact: of its file, or of the lines `sha256  path` of its files."""
    root = HERE.parent.parent
    if len(files) == 1:
        return sha256(root / files[0])
    lines = sorted("%s  %s\n" % (sha256(root / name), name) for name in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write(report, outputs) -> None:
    np.savez(str(HERE / "device-outputs.npz"), **outputs)
    report["outputs_sha256"] = sha256(HERE / "device-outputs.npz")
    text = json.dumps(report, indent=2, sort_keys=True)
    (HERE / "device-report.json").write_text(text + "\n", encoding="utf-8")


def tell(report) -> int:
    print("ran in %s" % report["runtime"])
    for name, figure in sorted(report["outputs"].items()):
        verdict = "ok" if figure["passed"] else "TOO FAR"
        text = "%-10s %s: cosine %.6f with the float model, at least %.6f wanted"
        print(text % (verdict, name, figure["cosine"], figure["limit"]))
    latency = report["latency_ms"]
    print("%.3f ms per inference (median of %d)" % (latency["median"], latency["runs"]))
    times = report["facts"].get("times_ms", {})
    for name in sorted(set(times) - {"artifact"}):
        ratio = times[name] / times["artifact"] if times["artifact"] else 0.0
        verdict = "" if ratio >= 1.0 else ": SLOWER"
        text = "%.2f times as fast as the same network in %s (%.3f and %.3f ms)%s"
        print(text % (ratio, name.upper(), times["artifact"], times[name], verdict))
    print("wrote device-report.json and device-outputs.npz; bring both back to the build's folder")
    print("artifacts/device and run: edgecompile prove BUILD_DIRECTORY")
    return 0 if report["passed"] else 1


def fail(what, why) -> int:
    print("cannot run %s: %s" % (what, why), file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main())
