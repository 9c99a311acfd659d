"""`python -m segsmith_api.healthy`: whether the API of this container is ready, for those who ask by exit code."""

import http.client
import sys

from segsmith_api.address import Address

TIMEOUT_SECONDS = 8


def main() -> int:
    """0 where `/readyz` says so, else 1."""
    connection = http.client.HTTPConnection("127.0.0.1", Address().port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return int(connection.getresponse().status != http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
