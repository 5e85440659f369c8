"""A client of Prefect's HTTP API that may change things, as the UI may."""

from uuid import uuid4

import httpx

SECONDS = 120.0


def api_client(url: str, password: str) -> httpx.Client:
    """Return a client with the password, USER:SECRET, and a token against forged requests."""
    user, _, secret = password.partition(":")
    client = httpx.Client(base_url=url, auth=(user, secret), timeout=SECONDS)
    identity = str(uuid4())
    token = client.get("/csrf-token", params={"client": identity}).raise_for_status().json()["token"]
    client.headers.update({"Prefect-Csrf-Client": identity, "Prefect-Csrf-Token": token})
    return client
