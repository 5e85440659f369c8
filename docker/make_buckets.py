"""Makes the buckets named on the command line, unless they are there."""

import os
import sys

import boto3
from botocore.exceptions import ClientError


def make_buckets(names: list[str]) -> None:
    """Make them on the server of WORDWAVE_S3_ENDPOINT_URL; credentials are boto3's own."""
    client = boto3.client("s3", endpoint_url=os.environ["WORDWAVE_S3_ENDPOINT_URL"])
    for name in names:
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            client.create_bucket(Bucket=name)


if __name__ == "__main__":
    make_buckets(sys.argv[1:])
