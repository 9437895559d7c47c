"""Qualcomm's Cloud AI SDK."""
