#!/bin/sh
# Build the engine of model.onnx with the TensorRT of this device, and write down what was built.
#
#   sh build.sh
#
# Finds trtexec, reads its version, and takes the options of that version, from 8.2 to 11. Writes
# model.engine, layers.json, profile.json, timing.cache and built.json into the folder device, where
# prove.py then runs the engine. TRTEXEC names another trtexec, WORKSPACE_MIB another limit of scratch memory.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/settings.sh"
model="$here/$model_file"
out="$here/device"
engine="$out/model.engine"
log="$out/build.log"
mkdir -p "$out"

fail() { echo "build.sh: $1" >&2; exit "${2:-3}"; }

find_trtexec() {
  for candidate in "${TRTEXEC:-}" "$(command -v trtexec || true)" \
    /usr/src/tensorrt/bin/trtexec /usr/bin/trtexec /opt/tensorrt/bin/trtexec; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then echo "$candidate"; return; fi
  done
  fail "trtexec is not here: install TensorRT (on a Jetson: sudo apt install tensorrt), or set TRTEXEC"
}

# The banner says v8201 for 8.2.1, v100300 for 10.3.0.
read_version() {
  number=$("$trtexec" --help 2>/dev/null | sed -n 's/.*\[TensorRT v\([0-9]*\)\].*/\1/p' | head -n 1)
  [ -n "$number" ] || number=$(python3 -c '
import tensorrt
major, minor, patch = (int(part) for part in tensorrt.__version__.split(".")[:3])
print(major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch)
' 2>/dev/null || true)
  [ -n "$number" ] || fail "the version of TensorRT cannot be told: $trtexec prints none"
  if [ "$number" -ge 100000 ]; then
    major=$((number / 10000)); minor=$((number / 100 % 100))
  else
    major=$((number / 1000)); minor=$((number / 100 % 10))
  fi
}

# Half of what is free: on a Jetson the GPU shares it with everything else.
workspace_mib() {
  if [ -n "${WORKSPACE_MIB:-$workspace}" ]; then echo "${WORKSPACE_MIB:-$workspace}"; return; fi
  awk '/^MemAvailable:/ { print int($2 / 2048) }' /proc/meminfo
}

trtexec=$(find_trtexec)
read_version
at_least() { [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }; }
at_least 8 2 || fail "TensorRT $major.$minor is too old: 8.2 is the oldest"

set -- "--onnx=$model" "--saveEngine=$engine.part" "--timingCacheFile=$out/timing.cache" \
  --profilingVerbosity=detailed "--exportLayerInfo=$out/layers.json" \
  "--exportProfile=$out/profile.json"
memory=$(workspace_mib)
if at_least 8 4; then set -- "$@" "--memPoolSize=workspace:$memory"; else set -- "$@" "--workspace=$memory"; fi
if [ -n "$min_shapes" ]; then
  set -- "$@" "--minShapes=$min_shapes" "--optShapes=$opt_shapes" "--maxShapes=$max_shapes"
fi

# Precision: TensorRT 11 has no flags for it, 10 takes it from the graph when asked to, 8 needs flags
# and may take float for any layer. Never --best: with Q/DQ pairs it undoes them.
if [ -n "$dla_core" ]; then
  [ "$major" -lt 11 ] || [ -z "$calibration" ] || fail "this kit is for the DLA of TensorRT 8 or 10: build again for the release that is here"
  set -- "$@" "--useDLACore=$dla_core" --allowGPUFallback --fp16
  if [ -n "$calibration" ]; then
    python3 "$here/calibration.py" "$number" "$here/$calibration" "$out/calibration.cache" || fail "calibration.py failed"
    set -- "$@" --int8 "--calib=$out/calibration.cache"
  fi
elif [ "$major" -lt 10 ]; then
  for flag in $precisions; do set -- "$@" "--$flag"; done
  # trtexec takes layers by name from 8.4 on
  if [ -n "$constraint" ] && at_least 8 4; then
    set -- "$@" "--precisionConstraints=$constraint" "--layerPrecisions=$layer_precisions"
    [ -z "$layer_outputs" ] || set -- "$@" "--layerOutputTypes=$layer_outputs"
  fi
elif [ "$major" -eq 10 ]; then
  set -- "$@" --stronglyTyped
fi

echo "TensorRT $major.$minor: $trtexec $*"
rm -f "$engine" "$engine.part" "$out/built.json"
run_trtexec() { "$trtexec" "$@" >"$log" 2>&1; }
build_engine() {
  had_timings=
  if [ -f "$out/timing.cache" ]; then had_timings=yes; fi
  if run_trtexec "$@"; then return; fi
  [ -n "$had_timings" ] || return 1
  echo "again without the timing cache: it may be of another version or GPU"
  rm -f "$out/timing.cache" "$engine.part"
  run_trtexec "$@"
}
if ! build_engine "$@"; then
  tail -n 25 "$log" >&2
  rm -f "$engine.part"
  fail "trtexec failed; all of its output is in build.log"
fi
[ -s "$engine.part" ] || fail "trtexec wrote no engine; its output is in build.log"
mv "$engine.part" "$engine"

# Times against FP16 and FP32 engines of the same network without its pairs, where the kit has it.
# The engines take turns, so that a change of clock meets all alike.
median_ms() { sed -n 's/.*GPU Compute Time:.*median = \([0-9.]*\) ms.*/\1/p' "$1" | head -n 1; }

float_engine() {  # NAME [FLAG]
  name=$1; shift
  set -- "--onnx=$here/$float_file" "--saveEngine=$out/$name.part" \
    "--timingCacheFile=$out/timing.cache" "$@"
  if at_least 8 4; then set -- "$@" "--memPoolSize=workspace:$memory"; else set -- "$@" "--workspace=$memory"; fi
  if [ -n "$min_shapes" ]; then
    set -- "$@" "--minShapes=$min_shapes" "--optShapes=$opt_shapes" "--maxShapes=$max_shapes"
  fi
  "$trtexec" "$@" >"$out/$name.log" 2>&1 && [ -s "$out/$name.part" ]
}

time_engine() {  # NAME FILE
  set -- "$1" "--loadEngine=$2"
  if [ -n "$opt_shapes" ]; then set -- "$@" "--shapes=$opt_shapes"; fi
  name=$1; shift
  "$trtexec" "$@" >"$out/$name.log" 2>&1 || return 0
  echo "$name $(median_ms "$out/$name.log")" >>"$times"
}

times="$out/times.txt"
rm -f "$times"
if [ -n "$float_file" ] && [ -z "$dla_core" ]; then
  others=
  if float_engine fp32; then others=fp32; fi
  if [ "$major" -ge 11 ]; then
    echo "TensorRT $major takes FP16 from the graph alone: there is no FP16 engine to compare with"
  elif float_engine fp16 --fp16; then others="$others fp16"; fi
  for turn in 1 2 3; do
    time_engine artifact "$engine"
    for other in $others; do time_engine "$other" "$out/$other.part"; done
  done
  rm -f "$out/fp32.part" "$out/fp16.part"
fi

python3 - "$model" "$engine" "$out/built.json" "$number" "$log" "$times" <<'PYTHON'
import collections, hashlib, json, os, re, sys

model, engine, record, number, log, times = sys.argv[1:]
digest = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
text = open(log, errors="replace").read()
own = re.search(r"GPU Compute Time:.*?median = ([0-9.]+) ms", text)
facts = {"tensorrt_number": number, "gpu_median_ms": float(own.group(1)) if own else None}
turns = collections.defaultdict(list)
for line in open(times) if os.path.isfile(times) else ():
    if len(line.split()) == 2:
        turns[line.split()[0]].append(float(line.split()[1]))
if turns.get("artifact"):
    facts["times_ms"] = {name: sorted(found)[len(found) // 2] for name, found in turns.items()}
with open(record, "w") as file:
    json.dump({"model_sha256": digest(model), "engine_sha256": digest(engine), "facts": facts}, file)
PYTHON
echo "wrote model.engine; now: python3 $out/prove.py"
