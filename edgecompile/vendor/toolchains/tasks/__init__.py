"""What workers run in isolated environments: standard library at the top, vendors in functions."""
