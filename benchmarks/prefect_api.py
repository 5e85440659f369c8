"""A client of Prefect's HTTP API that may change things, as the UI may."""

from uuid import uuid4

import httpx

SECONDS = 120.0


def api_client(url: str, password: str) -> httpx.Client:
    """Return a client with the password, USER:SECRET, and a token against forged requests."""
    user, _, secret = password.partition(":")
    access, identity = httpx.BasicAuth(user, secret), str(uuid4())
    answer = httpx.get(
        f"{url}/csrf-token", params={"client": identity}, auth=access, timeout=SECONDS
    ).raise_for_status()
    headers = {"Prefect-Csrf-Client": identity, "Prefect-Csrf-Token": answer.json()["token"]}
    return httpx.Client(base_url=url, auth=access, timeout=SECONDS, headers=headers)
