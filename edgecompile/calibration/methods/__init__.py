"""One range method per file."""
