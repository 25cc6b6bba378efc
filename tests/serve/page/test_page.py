"""The page in a real browser, against the service as a user starts it."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from serve.page.browsing import Visit, violations, visit

SIZE = "96 \N{MULTIPLICATION SIGN} 96"
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe.png"


def png(seed: int = 0, side: int = 96) -> bytes:
    """An image that each seed gives another."""
    content = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8)
    Image.fromarray(noise).resize((side, side)).save(content, "PNG")
    return content.getvalue()


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    chosen = [FilePayload(name=name, mimeType="image/png", buffer=data) for name, data in files]
    page.set_input_files("#choose-files", chosen)


def send(base: str, *files: tuple[str, bytes], heatmap: bool = False) -> list[dict[str, Any]]:
    """Score files by REST, as another program does."""
    form = [("files", file) for file in files]
    answer = httpx.post(f"{base}/api/v1/predict?heatmap={heatmap}", files=form, timeout=60)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def caption(page: Page) -> str:
    return page.locator(".stage-caption").inner_text()


def shades(page: Page) -> float:
    """Mean grey level of the stage."""
    return float(
        page.evaluate(
            """() => {
              const canvas = document.querySelector(".stage-canvas");
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              let sum = 0;
              for (let i = 0; i < data.length; i += 4) sum += data[i];
              return sum / (data.length / 4);
            }"""
        )
    )


def test_an_uploaded_image_is_shown_with_its_findings(visited: Visit) -> None:
    page = visited.go("")
    upload(page, ("first.png", png(1)))
    page.wait_for_url(re.compile("#/results/"))
    expect(page.locator(".panel .name")).to_have_text("first.png")
    expect(page.locator(".stage-caption")).to_contain_text(SIZE)
    result = httpx.get(f"{visited.base}/api/v1/results/{page.url.split('/')[-1]}").json()
    findings = page.locator(".findings").inner_text()
    for name, value in result["probabilities"].items():
        assert name in findings
        assert f"{100 * value:.1f} %" in findings or "under 0.1 %" in findings
    assert "Operating point for COVID-19: threshold 30.0 %" in findings
    assert "a sensitivity of 90.0 %" in findings
    assert "not a medical device" in findings
    for caution in result["cautions"]:
        assert caution["text"].lower() in findings.lower()
    if result["abstained"]:
        assert "No answer" in findings


def test_the_heat_map_can_be_faded(visited: Visit) -> None:
    page = visited.go("")
    upload(page, ("warm.png", png(2)))
    button = page.get_by_role("button", name="Heat map")
    button.wait_for()
    with_map = shades(page)
    page.get_by_label("Opacity").fill("0")
    faded = shades(page)
    button.click()
    assert shades(page) == faded != with_map


def test_window_zoom_pan_and_invert(visited: Visit) -> None:
    page = visited.go("")
    upload(page, ("grey.png", png(3)))
    page.wait_for_selector(".stage-caption:not(:empty)")
    whole, mean = caption(page), shades(page)
    box = page.locator(".stage-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y + 30)
    page.mouse.up()
    expect(page.locator(".stage-caption")).not_to_have_text(whole)
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".stage-caption")).to_have_text(whole)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -240)
    zoomed = int(re.findall(r"zoom (\d+)", caption(page))[0])
    assert zoomed > int(re.findall(r"zoom (\d+)", whole)[0])
    page.get_by_role("button", name="Fit").click()
    page.get_by_role("button", name="Invert").click()
    expect(page.locator(".stage-caption")).to_contain_text("inverted")
    assert abs(shades(page) - mean) > 1


def test_the_viewer_obeys_the_keyboard(visited: Visit) -> None:
    page = visited.go("")
    upload(page, ("one.png", png(4)), ("two.png", png(5)))
    page.wait_for_url(re.compile("#/results/"))
    page.wait_for_selector(".stage-caption:not(:empty)")
    whole = caption(page)
    page.locator(".stage-canvas").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".stage-caption")).not_to_have_text(whole)
    page.keyboard.press("r")
    expect(page.locator(".stage-caption")).to_have_text(whole)
    page.keyboard.press("+")
    expect(page.locator(".stage-caption")).not_to_have_text(whole)
    page.keyboard.press("0")
    page.keyboard.press("i")
    expect(page.locator(".stage-caption")).to_contain_text("inverted")
    before = page.url
    page.keyboard.press("n" if "two.png" in page.locator(".panel .name").inner_text() else "b")
    expect(page).not_to_have_url(before)


def test_the_browser_shows_the_window_that_the_service_shows(
    visited: Visit, shared_data: Path
) -> None:
    file = next(iter(sorted((shared_data / "ct-dicom").rglob("*.dcm"))))
    (result,) = send(visited.base, (file.name, file.read_bytes()))
    place = f"/api/v1/results/{result['id']}"
    page = visited.go("")
    for level, width in ((-600, 1500), (40, 400), (0, 3)):
        painted = page.evaluate(
            """async ([place, level, width]) => {
              const { lookup, paint } = await import("/static/window-level.js");
              const { getPixels } = await import("/static/api.js");
              const image = await getPixels(`${place}/pixels`);
              const { data } = new ImageData(image.columns, image.rows);
              paint(image.samples, lookup({ level, width }, image), data);
              return [image.rows, image.columns, Array.from(data.filter((_, i) => i % 52 === 0))];
            }""",
            [place, level, width],
        )
        rows, columns, greys = painted
        served = httpx.get(f"{visited.base}{place}/image.png?wl={level}&ww={width}")
        image = np.asarray(Image.open(io.BytesIO(served.content)).convert("L"), np.int16)
        assert image.shape == (rows, columns)
        assert len(np.unique(image)) > 1
        assert np.abs(image.ravel()[::13] - np.asarray(greys)).max() <= 1


def test_names_from_outside_stay_text(visited: Visit) -> None:
    (result,) = send(visited.base, (HOSTILE, png(6)))
    page = visited.go(f"#/results/{result['id']}")
    name = page.locator(".panel .name")
    expect(name).to_contain_text("<img src=x onerror=alert(1)>")
    expect(name).to_contain_text("u202e")  # the mark that would reverse the name is shown, escaped
    expect(page.locator(".worklist a").first).to_contain_text("<img")
    assert page.locator("img[src=x]").count() == 0


def test_the_card_and_hostile_markdown_stay_text(visited: Visit) -> None:
    page = visited.go("#/model")
    expect(page.get_by_role("heading", name="Operating points").first).to_be_visible()
    expect(page.locator(".card-text")).to_contain_text("Intended use")
    html = page.evaluate(
        """async (text) => {
          const { markdown } = await import("/static/markdown.js");
          const place = document.createElement("div");
          place.append(...markdown(text));
          return place.innerHTML;
        }""",
        "# A <script>alert(1)</script>\n- <b onclick=x>b</b>\n|a|\n|---|\n|[x](javascript:y)|\n",
    )
    assert "<script>" not in html
    assert "<b " not in html
    assert "<a" not in html


def test_the_page_runs_nothing_but_its_own_files(visited: Visit) -> None:
    policy = httpx.get(visited.base).headers["content-security-policy"]
    assert "unsafe" not in policy
    page = visited.go("")
    page.wait_for_selector(".worklist")
    blocked = page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.textContent = "window.ran = true"; document.body.append(script); } catch {}
          let markup = "taken";
          try { document.body.innerHTML = "<p>markup</p>"; } catch { markup = "blocked"; }
          return [window.ran, markup];
        }"""
    )
    assert blocked == [None, "blocked"]
    visited.problems.clear()  # the browser reports what it blocked


def test_a_rejected_file_says_why(visited: Visit) -> None:
    page = visited.go("")
    upload(page, ("notes.txt", b"no image at all"))
    expect(page.locator(".headline")).to_contain_text("The file is not an image.")
    expect(page.locator(".panel")).to_contain_text("not a medical device")


def test_the_worklist_filters_and_sorts(visited: Visit) -> None:
    send(visited.base, ("a.png", png(7)), ("b.png", png(8)), ("c.txt", b"none"))
    page = visited.go("")
    page.locator(".worklist a").first.wait_for()
    page.get_by_label("Status").select_option("rejected")
    expect(page.locator(".worklist .mark.is-rejected").first).to_be_visible()
    expect(page.locator(".worklist a:not(:has(.is-rejected))")).to_have_count(0)
    page.get_by_label("Status").select_option("scored")
    page.get_by_label("Probability of").select_option("normal")
    page.get_by_label("Sort by").select_option("probability")
    expect(page).to_have_url(re.compile("sort=probability"))
    asked = {"sort": "probability", "class": "normal", "status": "scored"}
    rest = httpx.get(f"{visited.base}/api/v1/results", params=asked).json()
    expect(page.locator(".worklist li").first).to_have_attribute(
        "data-id", rest["results"][0]["id"]
    )
    page.get_by_label("from, %").fill("100")
    page.get_by_label("from, %").press("Tab")
    expect(page.locator(".list-pane")).to_contain_text("No result matches the filters.")


def test_results_of_other_programs_appear_by_themselves(visited: Visit) -> None:
    page = visited.go("")
    page.wait_for_selector(".list-pane .hint:not(:empty)")
    (result,) = send(visited.base, ("arrived.png", png(9)))
    expect(page.locator(f'[data-id="{result["id"]}"]')).to_be_visible(timeout=15_000)


def test_the_worklist_by_keyboard_alone(visited: Visit) -> None:
    send(visited.base, ("k1.png", png(10)), ("k2.png", png(11)))
    page = visited.go("")
    page.locator(".worklist a").nth(1).wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.worklist') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#/results/"))
    first = page.url
    page.locator(".worklist a[aria-current]").focus()
    page.keyboard.press("ArrowDown")
    expect(page).not_to_have_url(first)
    expect(page.locator(".worklist a[aria-current]")).to_be_focused()


def test_a_deleted_result_is_gone(visited: Visit) -> None:
    (result,) = send(visited.base, ("gone.png", png(12)))
    page = visited.go(f"#/results/{result['id']}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete result and image?").click()
    expect(page.locator(f'[data-id="{result["id"]}"]')).to_have_count(0)
    answer = httpx.get(f"{visited.base}/api/v1/results/{result['id']}")
    assert answer.status_code == 404


def test_a_study_is_scrolled_through(visited: Visit, shared_data: Path) -> None:
    slices = sorted((shared_data / "ct-dicom" / "NCP").glob("NCP001/*.dcm"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in slices:
            archive.write(file, file.name)
    page = visited.go("")
    upload(page, ("study.zip", content.getvalue()))
    page.wait_for_url(re.compile("#/studies/"), timeout=60_000)
    position = page.locator(".scroller output")
    expect(position).to_have_text(f"1 of {len(slices)}")
    expect(page.locator(".curve-dot")).to_have_count(len(slices))
    page.locator(".stage-canvas").focus()
    page.keyboard.press("PageDown")
    expect(position).to_have_text(f"2 of {len(slices)}")
    page.locator(".stage-canvas").hover()
    page.mouse.wheel(0, 120)
    expect(position).to_have_text(f"4 of {len(slices)}")
    page.get_by_role("button", name="Soft tissue").click()
    page.get_by_role("slider", name="Slice").press("End")
    expect(position).to_have_text(f"{len(slices)} of {len(slices)}")
    expect(page.locator(".stage-caption")).to_contain_text("level 40, width 400")
    study = httpx.get(f"{visited.base}/api/v1/studies/{page.url.split('/')[-1]}").json()
    highest = max(result["probabilities"]["COVID-19"] for result in study["results"])
    assert f"{100 * highest:.1f} %" in page.locator(".curve").inner_text()


def test_a_run_shows_errors_first_next_to_the_nearest_training_images(visited: Visit) -> None:
    page = visited.go("#/runs")
    page.get_by_role("link", name="first").click()
    cards = page.locator(".card")
    place = f"{visited.base}/api/v1/runs/first/predictions"
    expect(cards).to_have_count(httpx.get(place).json()["total"])
    expect(cards.first).to_contain_text("Error")
    expect(cards.last).to_contain_text("Correct")
    page.get_by_label("Show").select_option("correct")
    expect(page.locator(".card.is-error")).to_have_count(0)
    cards.first.locator("a").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".case")).to_contain_text("not a medical device")
    image = page.url.split("/")[-1].split("?")[0]
    nearest = httpx.get(f"{place}/{image}/nearest?limit=4").json()["neighbours"]
    shown = page.locator(".neighbours li")
    expect(shown).to_have_count(4)
    expect(shown.first).to_contain_text(f"similarity {nearest[0]['similarity']:.2f}")
    page.get_by_role("link", name="Close").click()
    expect(page.locator(".case")).to_be_hidden()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1300, "light")])
def test_every_page_is_accessible_and_fits(
    browser: Browser, base: str, width: int, scheme: Any, shared_data: Path
) -> None:
    file = next(iter(sorted((shared_data / "ct-dicom").rglob("*.dcm"))))
    scored, rejected = send(base, (file.name, file.read_bytes()), ("r.txt", b"no"), heatmap=True)
    run = httpx.get(f"{base}/api/v1/runs/first/predictions?limit=1").json()["predictions"][0]
    places = [
        "", f"#/results/{scored['id']}", f"#/results/{rejected['id']}",
        f"#/studies/{scored['image']['study']}", "#/runs", "#/runs/first",
        f"#/runs/first/{run['image_id']}", "#/model", "#/nowhere",
    ]  # fmt: skip
    with visit(browser, base, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce") as at:
        at.page.set_viewport_size({"width": width, "height": 850})
        for place in places:
            at.go(place)
            at.page.wait_for_selector("h1", state="attached")
            expect(at.page.locator(".loading, [aria-busy]")).to_have_count(0)
            assert violations(at.page) == [], place
            assert at.page.evaluate("document.documentElement.scrollWidth") <= width, place
            assert at.page.evaluate("document.getAnimations().length") == 0, place
