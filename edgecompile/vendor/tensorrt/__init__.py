"""TensorRT and TensorRT-RTX: one builder, and a thin part for each library."""
