"""The functions that a guarded worker runs on onnxruntime-qnn, and readers of Qualcomm's files."""
