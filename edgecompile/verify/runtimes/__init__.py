"""One file per runtime that can run artifacts on the build machine."""
