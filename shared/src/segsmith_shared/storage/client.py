"""The minio client set up so that it works with every plain S3 server, rclone's included."""

from typing import Any

import urllib3
from minio import Minio
from minio.error import S3Error
from urllib3.exceptions import HTTPError

CONNECTIONS = 32
ALREADY_THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


class _XmlPools(urllib3.PoolManager):
    """rclone answers errors as `text/xml`; the minio client reads only `application/xml`."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]  # the parent leaves url and kw untyped
        response = super().urlopen(method, url, redirect=redirect, **kw)
        if response.headers.get("Content-Type", "").startswith("text/xml"):
            response.headers["Content-Type"] = "application/xml"
        return response


def s3_client(
    endpoint: str,
    access_key: str,
    secret_key: str,
    *,
    secure: bool = False,
    region: str = "us-east-1",
    retries: int = 5,
) -> Minio:
    """A client that retries lost connections and 5xx answers. Share it between threads, never across a fork."""
    pools = _XmlPools(
        num_pools=4,
        maxsize=CONNECTIONS,
        timeout=urllib3.Timeout(connect=5, read=60),
        retries=urllib3.Retry(total=retries, backoff_factor=0.1, status_forcelist=[500, 502, 503, 504]),
    )
    return Minio(endpoint, access_key, secret_key, secure=secure, region=region, http_client=pools)


def server_answers(client: Minio) -> bool:
    """Whether the server is there and takes these keys."""
    try:
        client.list_buckets()
    except (HTTPError, S3Error):
        return False
    return True


def ensure_bucket(client: Minio, bucket: str) -> None:
    """Makes the bucket where it is missing; two may do so at once."""
    if not client.bucket_exists(bucket):
        try:
            client.make_bucket(bucket)
        except S3Error as error:
            if error.code not in ALREADY_THERE:
                raise
