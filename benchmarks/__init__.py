"""What `make bench` and `make bench-accuracy` run. See README.md beside this file."""
