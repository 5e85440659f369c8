"""What a person does in the UI: fill a form, watch the run, read its pages; and what the form refuses.

WORDWAVE_SCREENSHOTS names a folder for what was seen: the pictures of docs/operations.md.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from db.embedded.server import EmbeddedServer
from flows.forms import FOLDER
from flows.pipeline.libraries.library_option import LIBRARY_RULE
from tests.e2e.browsing import open_deployment, open_form, open_place, open_run, sign_in, submit_form
from tests.e2e.conftest import Shoot, new_page
from tests.e2e.service import Service, import_library, serving
from tests.e2e.world import tone
from tests.fixtures_postgres import migrated_database
from tests.fixtures_s3 import S3Bucket

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from types_boto3_s3.client import S3Client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

DAY = "2026-11-21"
NIGHT, UNDO = f"nightly s3://calls/{DAY} by sounds", "undo "
"""How names of runs begin."""
REBOUND = "rebound.example"
PATIENCE = 240


@pytest.fixture(scope="module")
def bucket(s3_endpoint: str, s3_client: "S3Client", credentials: dict[str, str]) -> S3Bucket:
    """A day of clips, one of them cut short, and a library's manifest."""
    s3_client.create_bucket(Bucket="calls")
    bucket = S3Bucket(s3_endpoint, "calls", s3_client)
    for number in range(12):
        bucket.put(f"{DAY}/{number:02}.wav", tone(200 + 270 * number, 1.0))
    bucket.put(f"{DAY}/cut.wav", tone(400)[:-400])
    bucket.put("library/low.wav", tone(220, 1.0))
    bucket.put("library/high.wav", tone(3100, 1.0))
    rows = [json.dumps({"path": f"{label}.wav", "label": label}) for label in ("low", "high")]
    bucket.put("library/manifest.jsonl", "\n".join(rows).encode())
    return bucket


@pytest.fixture(scope="module")
def service(
    bucket: S3Bucket,
    postgres: EmbeddedServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """The service with its library, which is scheduled for the night."""
    with migrated_database(postgres, migrated_template) as database:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_S3_ENDPOINT_URL": bucket.endpoint,
            "WORDWAVE_READ_ROOTS": bucket.uri,
            "WORDWAVE_LLM": "none",
            "PREFECT_LOGGING_LEVEL": "INFO",
        }
        home = tmp_path_factory.mktemp("home")
        import_library(environment, home, f"{bucket.uri}/library/manifest.jsonl")
        nightly = ["--nightly", "s3://calls/{day}", "--library", "sounds", "--timezone", "Europe/Berlin"]
        with serving(environment, home, *nightly) as service:
            yield service


@pytest.fixture
def stranger() -> Iterator["Page"]:
    """A page of somebody without the password, for whom a name of his own leads to this machine."""
    with new_page(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1") as page:
        yield page


@pytest.fixture
def page(page: "Page", service: Service) -> "Page":
    """A page of somebody who has given the password once."""
    sign_in(page, service)
    return page


def open_artifact(page: "Page", run: str, key: str) -> None:
    """From a run's page to what it left under a key."""
    page.goto(run)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=key).click()
    page.get_by_text(f"Created {key}").wait_for()
    page.locator("main a[href*='/artifacts/artifact/']").first.click()


def test_a_person_fills_the_form_watches_the_run_and_reads_its_pages(
    page: "Page", service: Service, shoot: Shoot
) -> None:
    page.goto(service.address)
    page.get_by_role("link", name="Deployments").click()
    page.get_by_text("nightly-labeling").first.wait_for()
    shoot("deployments")
    open_place(page, service, "calls")
    page.get_by_text("At 02:00 AM").wait_for()
    shoot("nightly")
    open_form(page)
    assert page.get_by_label("Prefix").input_value() == "s3://calls/{day}"
    assert page.get_by_label("Library", exact=True).input_value() == "sounds"
    page.get_by_text("Available: sounds.").first.wait_for()
    page.get_by_label("Day (Optional)").fill(DAY)
    shoot("form")
    submit_form(page)
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=1000 * PATIENCE)
    page.reload()  # a page that was open when the run ended shows the logs until then
    page.get_by_text("label: 12 labeled").wait_for()
    shoot("run")
    run = page.url
    open_artifact(page, run, "nightly-labeling-summary")
    page.get_by_text("truncated").first.wait_for()
    shoot("summary")
    open_artifact(page, run, "nightly-labeling-table")
    page.get_by_text("quarantined: truncated").first.wait_for()
    shoot("table")


@pytest.mark.parametrize(
    ("flow", "field", "of", "shown", "came_to"),
    [
        ("verify-run", "Run", NIGHT, "id", "4 passed"),
        ("verify-run", "Run", NIGHT, "name", "4 passed"),
        ("replay-quarantine", "Prefix", NIGHT, "id", "1 set aside: truncated"),
        ("replay-quarantine", "Prefix", NIGHT, "name", "1 set aside: truncated"),
        ("undo-run", "Run", NIGHT, "id", "12 retracted"),
        ("undo-run", "Run", UNDO, "name", "12 restored"),
        ("undo-run", "Run", NIGHT, "name", "12 retracted"),
    ],
)
def test_a_run_is_verified_replayed_and_undone_by_the_id_and_the_name_on_its_page(
    page: "Page", service: Service, shoot: Shoot, flow: str, field: str, of: str, shown: str, came_to: str
) -> None:
    asked = {"prefix": "s3://calls/{day}", "library": "sounds", "day": DAY}
    if not named_runs(service, NIGHT):
        service.wait_for(service.start("nightly-labeling", **asked), patience=PATIENCE)
    open_run(page, service, of)
    name = page.get_by_text(re.compile(f"^{re.escape(of)}")).last
    on_page = {"id": page.locator("dt:text-is('Flow Run ID') + dd"), "name": name}
    reference = on_page[shown].inner_text().strip()
    open_deployment(page, service, flow)
    open_form(page, field)
    page.get_by_role("textbox", name=field, exact=True).fill(reference)
    shoot(f"form-{flow}")
    submit_form(page)
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=1000 * PATIENCE)
    page.reload()  # a page that was open when the run ended shows its state of before for a while
    page.get_by_role("tab", name="Details").click()
    page.get_by_text(came_to).first.wait_for()
    shoot(flow)


def named_runs(service: Service, begin: str) -> list[str]:
    """Runs that completed and whose name begins so, the first one first."""
    wanted = {"name": {"like_": begin}, "state": {"type": {"any_": ["COMPLETED"]}}}
    found = service.ask("POST", "/flow_runs/filter", flow_runs=wanted, sort="START_TIME_ASC")
    return [run["id"] for run in found]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("Prefix", "calls/today", f"field 'prefix'. Failure reason: {FOLDER.refusal}"),
        ("Prefix", "s3://calls/{day}", f"field 'prefix'. Failure reason: {FOLDER.refusal}"),
        ("Library", "no such@0", f"field 'library'. Failure reason: {LIBRARY_RULE.refusal}"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_and_its_field_named(
    page: "Page", service: Service, shoot: Shoot, field: str, value: str, named: str
) -> None:
    before = len(service.ask("POST", "/flow_runs/filter"))
    open_deployment(page, service, "label-clips")
    open_form(page)
    page.get_by_label("Prefix").fill("s3://calls")
    page.get_by_label("Library", exact=True).fill("sounds")
    page.get_by_label(field, exact=True).fill(value)
    page.get_by_role("button", name="Submit").click()
    page.get_by_text(f"Validation failed for {named}").first.wait_for()
    if field == "Prefix":
        shoot("refused")
    assert len(service.ask("POST", "/flow_runs/filter")) == before


def test_a_number_out_of_bounds_is_not_even_sent(page: "Page", service: Service) -> None:
    before = len(service.ask("POST", "/flow_runs/filter"))
    open_deployment(page, service, "label-clips")
    open_form(page)
    page.get_by_label("Prefix").fill("s3://calls")
    page.get_by_label("Library", exact=True).fill("sounds")
    margin = page.get_by_label("Min margin (Optional)")
    margin.fill("2")
    page.get_by_role("button", name="Submit").click()
    said = margin.evaluate("field => field.matches(':focus') && field.validationMessage")
    assert said == "Value must be less than or equal to 1."
    assert len(service.ask("POST", "/flow_runs/filter")) == before


def test_the_ui_asks_for_the_password_and_takes_no_other(service: Service, stranger: "Page") -> None:
    stranger.goto(service.address)
    asked = stranger.get_by_placeholder("admin:pass")
    asked.fill("wordwave:guessed")
    stranger.keyboard.press("Enter")
    stranger.wait_for_timeout(2000)
    assert asked.is_visible()
    assert stranger.get_by_role("link", name="Deployments").count() == 0
    asked.fill(service.password)
    stranger.keyboard.press("Enter")
    stranger.get_by_role("link", name="Deployments").wait_for()


def test_under_the_name_localhost_the_ui_works_too(page: "Page", service: Service) -> None:
    page.goto(service.address.replace("127.0.0.1", "localhost"))
    page.get_by_placeholder("admin:pass").fill(service.password)
    page.keyboard.press("Enter")
    open_deployment(page, service, "label-clips")


def test_the_ui_reaches_this_server_and_nobody_else(page: "Page", service: Service) -> None:
    asked, failed = [], {}
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: failed.update({request.url: request.failure}))
    open_deployment(page, service, "label-clips")
    page.goto(f"{service.address}/v2/runs")
    page.get_by_role("link", name="nightly s3://calls").first.wait_for()
    assert any(url.startswith(service.address) for url in asked)
    outside = [url for url in asked if not url.startswith((service.address, "data:", "blob:"))]
    assert [failed.get(url) for url in outside] == ["csp"] * len(outside)


ATTEMPTS = """async ([api, password]) => {
    const said = async request => await request.then(answer => answer.type, () => 'refused');
    const body = JSON.stringify({name: 'planted', value: 'x'});
    const basic = {Authorization: 'Basic ' + btoa(password)};
    return {
        read: await said(fetch(api + '/admin/version')),
        read_with_password: await said(fetch(api + '/admin/version', {headers: basic})),
        write: await said(fetch(api + '/variables/', {method: 'POST', body, headers: basic})),
        socket: await new Promise(tell => {
            const socket = new WebSocket(api.replace('http', 'ws') + '/events/out', ['prefect']);
            socket.onopen = () => tell('open');
            socket.onerror = () => tell('refused');
        }),
        form: await said(fetch(api + '/variables/', {method: 'POST', body, mode: 'no-cors'})),
    };
}"""


def test_a_page_of_somebody_else_reaches_nothing(stranger: "Page", service: Service) -> None:
    foreign = "http://evil.example/"
    stranger.route(f"{foreign}**", lambda route: route.fulfill(body="<html>", content_type="text/html"))
    stranger.goto(foreign)
    said = stranger.evaluate(ATTEMPTS, [f"{service.address}/api", service.password])
    assert {said.pop("form")} <= {"opaque", "refused"}  # sent without asking, and seen by nobody
    assert set(said.values()) == {"refused"}, said
    assert service.ask("POST", "/variables/count") == 0


def test_a_name_that_leads_here_does_not_make_a_page_ours(stranger: "Page", service: Service) -> None:
    """As after DNS rebinding: to the browser it is one origin."""
    rebound = f"http://{REBOUND}:{service.port}"
    answer = stranger.goto(f"{rebound}/api/health")
    assert answer is not None
    assert answer.status == 403
    said = stranger.evaluate(ATTEMPTS, [f"{rebound}/api", service.password])
    assert said["socket"] == "refused"
    assert service.ask("POST", "/variables/count") == 0
