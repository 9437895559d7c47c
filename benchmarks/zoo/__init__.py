"""The public models that the benchmarks run on: fetched, exported and prepared, never committed."""
