"""Targets: devices as facts, one YAML each."""
