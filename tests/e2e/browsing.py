"""Ways through Prefect's UI, by clicks."""

from typing import TYPE_CHECKING

from tests.e2e.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page


def sign_in(page: "Page", service: Service) -> None:
    """Give the password, as a person does once."""
    page.goto(service.address)
    page.get_by_placeholder("admin:pass").fill(service.password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Deployments").wait_for()


def open_place(page: "Page", service: Service, name: str) -> None:
    """From the first page to the deployment of a place."""
    page.goto(service.address)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("button", name="Run", exact=True).wait_for()
