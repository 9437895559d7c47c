"""The functions that a guarded worker runs on OpenVINO and NNCF."""
