"""Ways through Prefect's UI, by clicks."""

import re
from typing import TYPE_CHECKING

from tests.e2e.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page


SEARCHED = re.compile("[?&]flowOrDeploymentName=[^&]")


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


def open_deployment(page: "Page", service: Service, flow: str) -> None:
    """From the first page to a flow's deployment: they all have one name and fill several pages."""
    page.goto(service.address)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_placeholder("Search deployments").fill(flow)
    page.wait_for_url(SEARCHED)  # the search goes into the address a moment later, and leaves the next page
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
    row.get_by_role("link", name="wordwave", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).wait_for()


def open_form(page: "Page", field: str = "Prefix") -> None:
    """From a deployment to its form, which has this field."""
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_role("textbox", name=field, exact=True).wait_for()


def submit_form(page: "Page") -> None:
    """Submit the form and go to the page of its run, away from the one that lists the runs before it."""
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="View run").click()
    page.get_by_role("tab", name="Task Runs").wait_for()


def open_run(page: "Page", service: Service, name: str) -> None:
    """From the first page to the newest run whose name begins so."""
    page.goto(service.address)
    page.get_by_role("link", name="Runs", exact=True).click()
    page.locator(f"a[title^='{name}']").first.click()
    page.get_by_role("tab", name="Details").click()
