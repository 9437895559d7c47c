"""Write the calibration cache that a DLA before TensorRT 11 reads its INT8 scales from.

    python3 calibration.py VERSION SCALES.json CACHE

VERSION is TensorRT's number (8502, 100300), which the first line of a cache must carry; SCALES.json
maps tensors to scales. Standard library only, Python 3.6 or newer.
"""

import json
import struct
import sys
from pathlib import Path


def cache_text(version, scales) -> str:
    """One line for each tensor: its scale as float32, big-endian, in hexadecimal."""
    lines = ["TRT-%s-EntropyCalibration2" % version]
    for name, scale in sorted(scales.items()):
        lines.append("%s: %s" % (name, struct.pack(">f", scale).hex()))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    version, source, target = sys.argv[1:]
    found = json.loads(Path(source).read_text(encoding="utf-8"))
    Path(target).write_text(cache_text(version, found), encoding="utf-8")
