"""The segsmith command and the Python client."""
