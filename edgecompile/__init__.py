"""edgecompile: a trained ONNX model in, a verified artifact for a named edge device out."""

__version__ = "0.1.0"
