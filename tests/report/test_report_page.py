"""The page: one file, nothing fetched, everything escaped, all that must be said is said."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pulmospark
from pulmospark.audit.results import AuditResult, NamedFigure
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.provenance import provenance
from pulmospark.evaluation.results import Figure
from pulmospark.report import ReportContent, page, render_report, write_report
from pulmospark.report.audit import render_audit_page
from pulmospark.report.audit_content import AuditPage, Audits, ShownAudit
from pulmospark.report.content import (
    ClassSummary,
    Count,
    Exclusion,
    RejectExample,
    RejectGroup,
    SourceSummary,
)
from pulmospark.report.phantom import say_phantoms
from report import sample

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Tags in order, their attributes' names, the ids, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@cache
def whole() -> str:
    return render_report(sample.content(cross_validation=sample.cross_validation()))


def named(name: str) -> ReportContent:
    """Content in which every name that comes from outside is this one."""
    film = sample.films(right=True)[0].model_copy(
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
        right=(film,),
        wrong=(film,),
        provenance={"command": name, "commands": [name], "settings": {name: name}},
    )  # fmt: skip


@cache
def plain_shape() -> list[tuple[str, ...]]:
    return Outline(page._fill(named("plain"), {})).shape


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
    assert figures == sum(shape[0] == "figcaption" for shape in outline.shape) == 8
    pictures = [v for _, name, v in outline.attributes if name == "role" and v == "img"]
    assert len(pictures) == figures


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
    assert Outline(page._fill(named(name), {})).shape == plain_shape()
    html.encode("utf-8")
    assert "<script" not in html
    assert "49" not in Outline(html).text[0:5]


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters() | st.sampled_from("<>&\"'`={}%/"), min_size=1))
def test_no_name_changes_the_page_around_it(name: str) -> None:
    outline = Outline(page._fill(named(name), {}))
    assert outline.shape == plain_shape()


def test_what_must_be_said_is_said() -> None:
    text = " ".join(" ".join(Outline(whole()).text).split())
    assert text.count(pulmospark.NOT_A_MEDICAL_DEVICE) == 2
    for wanted in (
        "Most frequent class", "Operating point", "Wilson", "bootstrap", "not an image",
        "finding in no class", "Tuberculosis", "20201", "pulmospark run experiment.toml",
        "no patient is known for 1,148", "row without a file", "kermany",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_phantoms_are_called_phantoms_before_anything_else() -> None:
    drawn = " ".join(Outline(render_report(sample.content(is_phantom=True))).text)
    body = drawn[drawn.index("}\n") :]
    assert body.index("Drawn phantoms, not patients") < body.index("pulmospark report")
    assert "not patients" not in whole()


def test_no_sentence_of_a_page_about_phantoms_speaks_of_films() -> None:
    page = render_report(
        sample.content(is_phantom=True, cross_validation=sample.cross_validation())
    )
    own = re.sub(r"<(bdi|pre|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r".{20}\b[Ff]ilms?\b.{20}", re.sub(r"<[^>]*>", " ", own))
    assert "A drawn patient's phantoms are never parted" in own
    named = say_phantoms('<td><bdi>film ward</bdi> of films <img alt="Film x"></td>')
    assert named == '<td><bdi>film ward</bdi> of phantoms <img alt="Phantom x"></td>'


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
    assert "PPV: no tested film was given this class." in text
    assert "Balanced accuracy: a class has no tested film." in text
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
    assert "1,000 rows of each class were asked for: 1,487 films and 1,513 children" in text
    assert "COVID-19 168 832 1,000 5" in text
    assert "rotation 50 % up to 7 degrees" in text
    plain = sample.content(training=sample.training().model_copy(update={"augmentations": ()}))
    assert "none: the training films were left as they are" in render_report(plain)


def test_many_classes_stand_in_rows() -> None:
    names = tuple(f"class {index}" for index in range(9))
    text = " ".join(Outline(render_report(sample.content(
        evaluation=sample.evaluation((20,) * 9, names)))).text)  # fmt: skip
    assert all(name in text for name in names)
    assert "9 things to know" not in text
    assert "10 things to know" in text


def test_the_same_content_gives_the_same_page() -> None:
    content = sample.content(cross_validation=sample.cross_validation())
    assert render_report(content) == whole()


def test_the_page_is_small_even_with_the_largest_films() -> None:
    from pulmospark.core import limits

    largest = b"\xff\xd8\xff" + bytes(limits.REPORT_THUMBNAIL_BYTES_MAX - 3)

    def grown(right: bool) -> tuple[object, ...]:
        return tuple(
            film.model_copy(update={"thumbnail": largest}) for film in sample.films(right)
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

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        write_report(sample.content(), tmp_path / "report.html")


def test_pyplot_is_never_touched() -> None:
    import subprocess

    code = "import pulmospark.report.page, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_audits_of_phantoms_speak_of_phantoms_and_keep_names_from_the_page() -> None:
    audit = AuditResult(
        name="support",
        title="Enough films for the claim",
        verdict="fail",
        sentence="2 films of <b>ward</b> are too few patients.",
        figures=(NamedFigure(name="films of one patient", figure=Figure(value=0.5)),),
    )
    content = AuditPage(
        title="drawn",
        made_at=datetime(2026, 1, 2, tzinfo=UTC),
        is_phantom=True,
        films=2,
        audits=Audits(shown=(ShownAudit(result=audit),)),
        provenance=provenance({}),
    )
    page = render_audit_page(content)
    assert "2 phantoms of &lt;b&gt;ward&lt;/b&gt; are too few drawn patients." in page
    assert "phantoms of one drawn patient" in page
    films = render_audit_page(content.model_copy(update={"is_phantom": False}))
    assert "2 films of &lt;b&gt;ward&lt;/b&gt; are too few patients." in films
