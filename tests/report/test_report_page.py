"""The page: one file, nothing fetched, everything escaped, all that must be said is said."""

from __future__ import annotations

import itertools
import re
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pulmospark
from pulmospark.audit.results import AuditResult, NamedFigure
from pulmospark.core.errors import PlatformError
from pulmospark.core.provenance import provenance
from pulmospark.evaluation.results import Figure
from pulmospark.report import page
from pulmospark.report.audit import render_audit_page
from pulmospark.report.audit_content import AuditPage, Audits, ShownAudit
from pulmospark.report.content import (
    ClassSummary,
    Count,
    Exclusion,
    RejectExample,
    RejectGroup,
    ReportContent,
    SourceSummary,
)
from pulmospark.report.page import render_report, write_report
from pulmospark.report.phantom_wording import phantom_words
from report import sample
from report.outline import Outline


@cache
def whole() -> str:
    return render_report(
        sample.content(cross_validation=sample.cross_validation(), audits=sample.audits())
    )


def named(name: str) -> ReportContent:
    """Content in which every name that comes from outside is this one."""
    image = sample.images(right=True)[0].model_copy(
        update={"label": name, "prediction": name, "source": name, "image_id": name}
    )
    return sample.content(
        title=name,
        sources=(
            SourceSummary(
                name=name, layout=name, path=name, files_seen=1, images=0, rejects=1,
                notes=(Count(name=name, count=1, examples=(name, name)),),
            ),
        ),
        rejects=(
            RejectGroup(reason=name, count=1, examples=(RejectExample(name=name, detail=name),)),
        ),
        exclusions=(Exclusion(reason=name, finding=name, source=name, count=1),),
        classes=(ClassSummary(name=name, findings=(Count(name=name, count=1),)),),
        warnings=(name,),
        right=(image,),
        wrong=(image,),
        provenance={"command": name, "commands": [name], "settings": {name: name}},
    )  # fmt: skip


@cache
def plain_shape() -> list[tuple[str, ...]]:
    return Outline(page.page_of(named("plain"), {})).shape


def test_the_page_is_well_formed_with_unique_ids() -> None:
    outline = Outline(whole())
    assert outline.open == []
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    anchors = {
        value[1:] for tag, name, value in outline.attributes if (tag, name) == ("a", "href")
    }
    assert anchors <= set(ids)
    labelled = {value for _, name, value in outline.attributes if name == "aria-labelledby"}
    assert labelled <= set(ids)
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    # No level is skipped on the way down.
    assert all(b - a <= 1 for a, b in itertools.pairwise(outline.headings))
    landmarks = [shape[0] for shape in outline.shape]
    assert [landmarks.count(tag) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]


def test_the_result_comes_before_everything_else() -> None:
    text = " ".join(" ".join(Outline(whole()).text).split())
    order = [
        text.index(words_)
        for words_ in (
            pulmospark.NOT_A_MEDICAL_DEVICE, "Limits and citation", "2 failed",
            "Accuracy 94.8 %", "Sensitivity for COVID-19", "Accuracy and image-blind baselines",
            "Confusion matrix", "Each class against the rest", "Shortcut checks",
            "Errors and correct predictions", "One dot per fold", "Rejected files",
        )
    ]  # fmt: skip
    assert order == sorted(order)
    assert text.count("Confusion matrix.") == 1


def test_a_shortcut_check_is_a_row_of_one_plot_and_no_block_of_text() -> None:
    outline = Outline(whole())
    text = " ".join(" ".join(outline.text).split())
    ids = {value for _, name, value in outline.attributes if name == "id"}
    assert {"figure-shortcuts", "audit-support", "audit-children"} <= ids
    assert "figure-class_by_age-histogram" in ids
    assert "figure-class_by_sex-histogram" not in ids  # it passed
    assert "A model that is given only" not in text
    assert "match the age of the classes" in text
    without_plots = re.sub(r"<svg.*?</svg>", "", whole(), flags=re.DOTALL)
    assert "0.670" not in " ".join(Outline(without_plots).text)
    # An audit of an older version has no features by class: its sentence stands.
    old = tuple(
        one.model_copy(update={"result": one.result.model_copy(update={"shortcut": None})})
        for one in sample.audits().shown
    )
    older = render_report(sample.content(audits=Audits(shown=old)))
    assert "figure-shortcuts" not in older
    assert "A model that is given only the age" in older


def test_every_label_has_a_filter_and_every_image_a_way_back() -> None:
    outline = Outline(whole())
    inputs = [value for tag, name, value in outline.attributes if (tag, name) == ("input", "id")]
    assert inputs == [
        *("show-all", "show-error", "show-correct"),
        *("class-all", "class-0", "class-1", "class-2"),
    ]
    style = whole()[whole().index("<style>") : whole().index("</style>")]
    assert all(f"#class-{n}:checked) .cards > :not(.label-{n})" in style for n in range(3))
    cards = [v for tag, name, v in outline.attributes if (tag, name) == ("li", "class")]
    assert cards == [
        f"{kind} label-{n % 3}" for kind in ("error", "correct") for n in range(12)
    ]  # errors first
    links = [v for tag, name, v in outline.attributes if (tag, name) == ("a", "href")]
    assert links.count("#image-list") == 24
    assert {f"#error-{n}" for n in range(1, 13)} <= set(links)


def test_every_cell_of_a_table_that_folds_has_its_heading() -> None:
    names = tuple(f"class {index}" for index in range(9))
    page = render_report(sample.content(evaluation=sample.evaluation((20,) * 9, names)))
    for table in re.findall(r'<table class="stack.*?</table>', page, flags=re.DOTALL):
        cells = re.findall(r"<td[^>]*>", table)
        assert cells
        assert all("data-th=" in cell for cell in cells if cell != "<td>")
        assert cells.count("<td>") <= 1  # the foot of the layouts' column


def test_nothing_is_fetched_and_nothing_runs() -> None:
    outline = Outline(whole())
    tags = {shape[0] for shape in outline.shape}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in outline.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "srcset"}:
            assert value.startswith(("data:image/", "#")), (tag, name, value[:60])
    style = whole()[whole().index("<style>") : whole().index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_pictures_and_tables_are_told_to_those_who_cannot_see_them() -> None:
    outline = Outline(whole())
    images = [shape for shape in outline.shape if shape[0] == "img"]
    assert len(images) == 24
    assert all("alt" in shape for shape in images)
    assert all("scope" in shape for shape in outline.shape if shape[0] == "th")
    figures = sum(shape[0] == "figure" for shape in outline.shape)
    assert figures == sum(shape[0] == "figcaption" for shape in outline.shape) == 11
    pictures = [v for _, name, v in outline.attributes if name == "role" and v == "img"]
    assert len(pictures) == figures


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2 of ``#rrggbb``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_a_contrast_of_four_and_a_half_in_light_and_dark() -> None:
    style = whole()[whole().index("<style>") : whole().index("</style>")]
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]
    )
    backs = ("paper", "panel", "good-back", "caution-back", "bad-back")
    pairs = [("ink", back) for back in backs] + [("muted", "paper"), ("muted", "panel")]
    pairs += [
        ("accent", "paper"),
        *((tone, f"{tone}-back") for tone in ("good", "caution", "bad")),
    ]
    for scheme in (light, light | dark):
        for front, back in pairs:
            one, other = sorted((luminance(scheme[front]), luminance(scheme[back])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (front, back, scheme[front])
        # The darkest cell of a confusion matrix: 55 parts of its blue over the page.
        blue, page_ = (bytes.fromhex(scheme[name][1:]) for name in ("series", "paper"))
        parts = (round(0.55 * a + 0.45 * b) for a, b in zip(blue, page_, strict=True))
        mixed = f"#{bytes(parts).hex()}"
        one, other = sorted((luminance(scheme["ink"]), luminance(mixed)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, mixed


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.png",
        "\"><img src=x onerror='x'>",
        "</style></title><b>",
        "{{ 7 * 7 }}{% raw %}",
        "😷 طبيعي \u202egpj.exe",
        "x" * 200,
        "bad\udcff\x00name",
        "]]>&amp;<!--",
    ],
)
def test_names_from_outside_are_text_and_nothing_else(name: str) -> None:
    html = render_report(named(name))
    assert Outline(page.page_of(named(name), {})).shape == plain_shape()
    html.encode("utf-8")
    assert "<script" not in html
    assert "49" not in Outline(html).text[0:5]


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters() | st.sampled_from("<>&\"'`={}%/"), min_size=1))
def test_no_name_changes_the_page_around_it(name: str) -> None:
    outline = Outline(page.page_of(named(name), {}))
    assert outline.shape == plain_shape()


def test_what_must_be_said_is_said() -> None:
    text = " ".join(" ".join(Outline(whole()).text).split())
    assert text.count(pulmospark.NOT_A_MEDICAL_DEVICE) == 2
    for wanted in (
        "Most frequent class", "Operating point", "Wilson", "bootstrap", "not an image",
        "image-blind baselines", "95 % CI", "Excluded images",
        "finding in no class", "Tuberculosis", "20201", "pulmospark run experiment.toml",
        "no patient is known for 1,148", "row without a file", "kermany",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_phantoms_are_called_phantoms_before_anything_else() -> None:
    drawn = " ".join(Outline(render_report(sample.content(is_phantom=True))).text)
    body = drawn[drawn.index("}\n") :]
    assert body.index("Phantoms, not patients") < body.index("pulmospark report")
    assert "not patients" not in whole()


def test_no_sentence_of_a_page_about_phantoms_speaks_of_images() -> None:
    page = render_report(
        sample.content(
            is_phantom=True,
            cross_validation=sample.cross_validation(),
            audits=sample.audits(),
            warnings=("2 images of one patient.",),
        )
    )
    own = re.sub(r"<(bdi|pre|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    own = own.replace("Every image on this page was drawn by a program", "")
    assert not re.findall(r".{20}\b[Ii]mages?\b.{20}", re.sub(r"<[^>]*>", " ", own))
    assert "The phantoms of a synthetic patient are kept in the same split" in own
    # A name from outside is never reworded.
    assert "<bdi>image ward</bdi>" in render_report(
        sample.content(title="image ward", is_phantom=True)
    )
    said = "Images of patients; no image of a patient; an image, an image-blind baseline."
    assert phantom_words(said) == (
        "Phantoms of synthetic patients; no phantom of a synthetic patient; a phantom, an "
        "image-blind baseline."
    )
    assert phantom_words(phantom_words(said)) == phantom_words(said)


def test_undefined_figures_are_dashes_with_reasons_and_never_nan() -> None:
    undefined = Figure(value=None)
    one = sample.evaluation()
    classes = tuple(
        figures.model_copy(update=dict.fromkeys(("ppv", "mcc", "auroc"), undefined))
        for figures in one.by_class
    )
    html = render_report(
        sample.content(
            evaluation=one.model_copy(update={"by_class": classes, "balanced_accuracy": undefined})
        )
    )
    text = " ".join(Outline(html).text)
    assert "PPV: no tested image was predicted to be of this class." in text
    assert "Balanced accuracy: a class has no tested image." in text
    assert re.search(r"\b(nan|None|undefined)\b", text[text.index("Research software") :]) is None


def test_a_page_with_the_least_content_stands() -> None:
    one = sample.evaluation().model_copy(update={"operating": None, "trivial": None})
    least = ReportContent(
        title="least", made_at=sample.content().made_at, is_phantom=False, evaluation=one
    )
    outline = Outline(render_report(least))
    assert outline.open == []
    assert "Nothing is known of the split." in " ".join(outline.text)


def test_the_augmentation_is_told_row_by_row() -> None:
    text = " ".join(" ".join(Outline(whole()).text).split())
    assert "1,000 rows per class were configured: 1,487 images and 1,513 augmented copies" in text
    assert "COVID-19 168 832 1,000 5" in text
    assert "rotation 50 % up to 7 degrees" in text
    plain = sample.content(training=sample.training().model_copy(update={"augmentations": ()}))
    assert "<dt>Augmentation</dt><dd>none</dd>" in render_report(plain)


def test_many_classes_stand_in_rows() -> None:
    names = tuple(f"class {index}" for index in range(9))
    text = " ".join(Outline(render_report(sample.content(
        evaluation=sample.evaluation((20,) * 9, names)))).text)  # fmt: skip
    assert all(name in text for name in names)
    assert text.count("one image more or less moves its metrics") == 9


def test_the_same_content_gives_the_same_page() -> None:
    content = sample.content(cross_validation=sample.cross_validation(), audits=sample.audits())
    assert render_report(content) == whole()


def test_the_page_is_small_even_with_the_largest_images() -> None:
    from pulmospark.core import limits

    largest = b"\xff\xd8\xff" + bytes(limits.REPORT_THUMBNAIL_BYTES_MAX - 3)

    def grown(right: bool) -> tuple[object, ...]:
        return tuple(
            image.model_copy(update={"thumbnail": largest}) for image in sample.images(right)
        )

    html = render_report(sample.content(right=grown(True), wrong=grown(False)))
    assert len(html.encode()) < 2_500_000


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write_report(sample.content(title="first"), target)
    write_report(sample.content(title="second"), target)
    assert "second" in target.read_text(encoding="utf-8")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_a_disk_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PlatformError, match="disk is full"):
        write_report(sample.content(), tmp_path / "report.html")


def test_pyplot_is_never_touched() -> None:
    import subprocess

    code = "import pulmospark.report.page, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_audits_of_phantoms_speak_of_phantoms_and_keep_names_from_the_page() -> None:
    audit = AuditResult(
        name="support",
        title="Sample size per class",
        verdict="fail",
        sentence="2 images of <b>ward</b> are too few patients.",
        figures=(NamedFigure(name="images of one patient", figure=Figure(value=0.5)),),
    )
    content = AuditPage(
        title="drawn",
        made_at=datetime(2026, 1, 2, tzinfo=UTC),
        is_phantom=True,
        images=2,
        audits=Audits(shown=(ShownAudit(result=audit),)),
        provenance=provenance({}),
    )
    page = render_audit_page(content)
    assert "2 phantoms of &lt;b&gt;ward&lt;/b&gt; are too few synthetic patients." in page
    images = render_audit_page(content.model_copy(update={"is_phantom": False}))
    assert "2 images of &lt;b&gt;ward&lt;/b&gt; are too few patients." in images
