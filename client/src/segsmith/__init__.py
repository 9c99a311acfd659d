"""The segsmith command and the Python client."""

from segsmith.client import Client
from segsmith.problems import ApiProblem, ServerUnreachable, TransferBroken

__version__ = "0.1.0"

__all__ = ["ApiProblem", "Client", "ServerUnreachable", "TransferBroken", "__version__"]
