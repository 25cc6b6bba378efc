"""What the page shows where the service refuses, fails, is gone, or wants a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from serve.page.browsing import Visit, running_service, violations, visit
from serve.page.test_page import SIZE, png, send, upload

ERROR = '{"error": {"kind": "PlatformError", "message": "no space left in <b>state</b>"}}'


def answer(status: int, body: str = ERROR) -> Callable[[Route], None]:
    """A handler that answers in the service's place."""

    def handler(route: Route) -> None:
        route.fulfill(status=status, content_type="application/json", body=body)

    return handler


def test_an_empty_worklist_says_what_to_do(
    browser: Browser, page_bundle: Path, tmp_path: Path
) -> None:
    with (
        running_service(page_bundle, tmp_path) as base,
        visit(browser, base) as at,
    ):
        page = at.go("")
        expect(page.locator(".list-pane")).to_contain_text("Nothing has come in yet")
        at.go("#/runs")
        expect(page.locator(".runs-page")).to_contain_text("No folder of runs was given")


def test_a_failed_upload_shows_the_servers_words(visited: Visit) -> None:
    page = visited.go("")
    page.route("**/api/v1/predict**", answer(500))
    upload(page, ("lost.png", png()))
    status = page.locator(".upload-status")
    expect(status).to_contain_text("lost.png: no space left in <b>state</b>")
    expect(status).to_contain_text("The server's log says more.")
    status.get_by_role("button", name="Dismiss").click()
    expect(status).to_be_hidden()
    visited.problems.clear()


def test_a_result_that_cannot_be_loaded_says_so(visited: Visit) -> None:
    (result,) = send(visited.base, ("x.png", png(20)))
    page = visited.go("")
    page.route("**/pixels", answer(410))
    visited.go(f"#/results/{result['id']}")
    expect(page.locator(".stage-message")).to_have_text("This image is no longer stored")
    expect(page.locator(".findings")).to_be_visible()
    visited.go("#/results/00000000000000000000000000000000")
    expect(page.locator(".panel")).to_contain_text("not stored, or no longer")
    visited.problems.clear()


def test_a_page_that_fails_offers_to_try_again(visited: Visit) -> None:
    page = visited.go("")
    page.route("**/api/v1/runs", answer(503))
    visited.go("#/runs")
    expect(page.locator("main")).to_contain_text("This could not be loaded")
    page.unroute("**/api/v1/runs")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".run-list")).to_contain_text("first")
    visited.problems.clear()


def test_a_server_that_is_gone_is_noticed_and_so_is_its_return(visited: Visit) -> None:
    page = visited.go("")
    page.wait_for_selector(".list-pane .hint:not(:empty)")
    page.route("**/api/**", lambda route: route.abort())
    expect(page.locator("#alerts")).to_contain_text("does not answer", timeout=15_000)
    page.unroute("**/api/**")
    expect(page.locator("#alerts")).to_be_empty(timeout=15_000)
    visited.problems.clear()


@pytest.mark.parametrize(
    "place", ["#/results/%E0%A4%A", "#/results/..", "#/runs/..%2F..%2Fetc", "#/studies/<b>", "#//"]
)
def test_an_address_that_leads_nowhere_says_so(visited: Visit, place: str) -> None:
    page = visited.go(place)
    page.wait_for_selector(".failure, .empty, .list-pane .hint:not(:empty)")
    assert page.locator("main b").count() == 0
    visited.problems.clear()


def test_an_abstained_result_gives_no_answer(visited: Visit) -> None:
    (result,) = send(visited.base, ("x.png", png(21)))
    abstained = {**result, "abstained": True}
    page = visited.go("")
    page.route(f"**/results/{result['id']}", lambda route: route.fulfill(json=abstained))
    visited.go(f"#/results/{result['id']}")
    expect(page.locator(".headline")).to_contain_text("No answer")
    expect(page.locator(".headline")).not_to_contain_text(result["prediction"])


def test_a_token_is_asked_for_once(browser: Browser, page_bundle: Path, tmp_path: Path) -> None:
    token = "0123456789abcdef" * 2
    (tmp_path / "tokens").write_text(f"reader:{token}\n")
    (tmp_path / "tokens").chmod(0o600)
    options = ("--token-file", str(tmp_path / "tokens"))
    with (
        running_service(page_bundle, tmp_path, *options) as base,
        visit(browser, base, bypass_csp=True) as at,
    ):
        page = at.go("")
        dialog = page.locator("#token-dialog")
        expect(dialog).to_be_visible()
        assert violations(page) == []
        page.get_by_label("Token", exact=True).fill("wrong" * 8)
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("does not accept this token")
        page.get_by_label("Token", exact=True).fill(token)
        page.keyboard.press("Enter")
        expect(page.locator(".list-pane")).to_contain_text("Nothing has come in yet")
        upload(page, ("mine.png", png(22)))
        page.wait_for_url(re.compile("#/results/"))
        expect(page.locator(".stage-caption")).to_contain_text(SIZE)
        page.reload()
        expect(page.locator(".panel .name")).to_have_text("mine.png")
        at.problems.clear()  # the browser reports each 401
