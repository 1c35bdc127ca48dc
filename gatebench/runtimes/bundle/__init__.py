"""A network as a folder: one model that really skips, bundle.json, and run.py, which runs it without gatebench."""
