"""Words that the project replaces by the field's own; ``python tests/wording.py`` lists them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Term:
    """An expression to be replaced.

    ``bad`` and ``good`` are examples that the pattern must and must not match; ``only`` limits
    it to paths that match.
    """

    name: str
    pattern: str
    better: str
    bad: tuple[str, ...]
    good: tuple[str, ...] = ()
    only: str = ""


TERMS: Final = (
    # core/records.py reads the names of earlier versions.
    Term(
        "film",
        r"film",
        "image, radiograph, slice, frame",
        ("films", "FilmResult", "a film"),
        only=r"^(?!src/pulmospark/core/records\.py$)",
    ),
    Term(
        "drawn patients",
        r"\bdrawn (?:patients|people)\b|\bmade-up (?:patients|people)\b",
        "synthetic patients",
        ("64 drawn patients", "made-up people"),
        ("the images we draw", "one made-up row"),
    ),
    Term("rightly", r"\brightly\b", "classified correctly", ("named 89 rightly",)),
    Term(
        "95 % interval",
        r"\b95 ?% intervals?\b|\bintervals? (?:of 95 ?%|by\b)",
        "95 % CI; CI method",
        ("a 95 % interval", "intervals of 95%", "Interval by bootstrap"),
        ("95 % CI", "Wilson's interval"),
    ),
    Term(
        "figures as a heading",
        r"^#+ [A-Z].*\bfigures\b|^#{2,} .*\bfigures\b|<h\d[^>]*>[^<]*\bfigures\b",
        "performance, metrics",
        ("## Figures", "<h2>The figures"),
        ("see the figures",),
    ),
    Term(
        "rules that look at no image",
        r"\brules? that (?:look at no|never look at an?)\b|\btrivial rules?\b",
        "image-blind baselines",
        ("two rules that look at no image", "trivial rule"),
    ),
    Term(
        "told",
        r"\btold\b|(?<!file\.)\btell(?:s|ing)?\b",
        "detected, predicted, distinguished, reported",
        ("told by X alone", "what tells them apart", "Tell whether"),
        ("intelligent", "retold"),
    ),
    Term("left open", r"\bleft open\b", "not assessable", ("audits are left open",)),
    Term(
        "left out",
        r"\b(?:left|leaves?|leaving) (?:\w+ ){0,2}out\b",
        "excluded",
        ("is left out", "what the mapping leaves out", "leaving a source out"),
        ("leave-one-out", "left on the output"),
    ),
    Term(
        "never parted",
        r"\bnever part(?:s|ed)\b|\b(?:kept?|keeps?) (?:\w+ ){0,4}together\b",
        "kept in the same split, grouped",
        ("never parted", "kept together", "keeps several patients together"),
        ("the part that is tested", "taken together"),
    ),
    Term(
        "children (augmented copies)",
        r"\bchild(?:ren)?\b",
        "augmented copies",
        ("parent and child", "its children"),
        ("childhood",),
        only=r"augment|expan|leak",
    ),
    Term(
        "changed by chance",
        r"\bchang\w* (?:\w+ ){0,4}by chance\b",
        "randomly augmented",
        ("films changed by chance", "Change training films by chance"),
        ("does not fail by chance",),
    ),
    Term(
        "letters",
        r"\bletters\b(?! (?:and|or) (?:digits|numbers)| beyond|, digits)",
        "burned-in text",
        ("letters painted over", "burned-in letters"),
        ("letters and digits", "letters beyond ASCII"),
        only=r"^(?!src/pulmospark/config/audit\.py$)",  # reads the name of earlier versions
    ),
    Term("cuts", r"\bcuts\b", "crops", ("compared with cuts of the others",), ("shortcuts",)),
    Term("share right", r"\bshare (?:\w+ ){0,3}right\b", "accuracy", ("the share right",)),
    Term(
        "goes on",
        r"\bgone on with\b|\bgo(?:es)? on\b",
        "resumes",
        ("is gone on with", "it goes on where it was", "to go on"),
        ("ergo once",),
    ),
    Term(
        "make it again",
        r"\bma(?:k(?:es?|ing)|de) (?:it |them |this )?(?:again|anew)\b",
        "reproduce, rebuild",
        ("make it again", "is made anew"),
        ("tried again",),
    ),
    Term(
        "what it rests on",
        r"\brests? on\b|\bhow it is made\b",
        "method",
        ("what it rests on", "how it is made"),
        ("the rest of one",),
    ),
    Term(
        "so many a class",
        r"\b(?:many|rows?|files?|images?|bytes|jobs?|once|tables?|figures?|folders?) "
        r"an? (?:class|image|patient|scan|slice|fold|session|machine|task|file|row|table|group)\b",
        "N per class",
        ("so many a class", "a row a file", "once a machine"),
        ("rows per class", "is once again"),
    ),
    Term("without a word", r"\bwithout a word\b", "silently", ("ended without a word",)),
    Term(
        "the network's own",
        r"\b(?:network|model)'s own\b",
        "the model's default",
        ("the network's own where he gave none",),
    ),
    Term(
        "a fault of pulmospark's",
        r"\bfaults? of pulmospark\b",
        "a bug in pulmospark",
        ("(a fault of pulmospark's: --debug shows it)",),
    ),
    Term("foretells", r"\bforet(?:ell|old)", "estimates", ("what plan foretells", "foretold")),
    Term(
        "whole or not at all", r"\bwhole or not at all\b", "atomically", ("whole or not at all",)
    ),
    Term("beside", r"\bbeside\b", "compared with, next to", ("beside the model",), ("besides",)),
    Term("way of the data", r"\bway of the data\b", "data flow", ("## The way of the data",)),
    Term(
        "fetch a data set",
        r"\bfetch(?:es|ed|ing)? (?:an? |the )?(?:\w+ )?data ?sets?\b|\bpulmospark fetch\b",
        "download",
        ("Fetch a data set", "`pulmospark fetch`"),
        ("fetched the bytes",),
    ),
    Term(
        "more than chance would do",
        r"\bchance would\b",
        "statistically significant",
        ("more than chance would do",),
    ),
    Term(
        "name of a value",
        r"^\s*(?:told|found|one|thing|asked|made|said)(?:: [^=\n]+)? = "
        r"|\bfor (?:told|found|one|thing|asked|made|said) in\b"
        r"|\((?:told|found|one|thing|asked|made|said) := ",
        "a name that says what it holds",
        ("    told: dict[str, int] = x", "found = y", "for one in rows", "if (told := f())"),
        ("found == 1", "for one in_", "tone = 3"),
        only=r"\.py$",
    ),
    Term(
        "error not named Error",
        r"^class (?!\w*Error\b)\w+\(\w*(?:Error|Exception|Problem)\)",
        "a name that ends in Error",
        ("class EnvironmentProblem(PulmosparkError):",),
        ("class InputError(PulmosparkError):",),
    ),
)

MODULES: Final = {
    "already": "incremental",
    "looks": "fingerprints",
    "made_with": "lineage",
    "telling": "describe",
    "chance": "random_stream",
    "one_thing": "single_feature",
    "words": "phrasing or printing",
    "stream_state": "ledger",
    "content": "hashing",
    "tables": "schemas",
    "ahead": "prefetch",
}
"""names of modules, and better ones"""


@dataclass(frozen=True)
class Hit:
    """One occurrence."""

    path: str
    line: int
    text: str
    name: str
    better: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r} ({self.name}): better: {self.better}"


def matches(term: Term, text: str) -> Iterator[re.Match[str]]:
    """Where a term stands in a text, in any case of letters."""
    return re.finditer(term.pattern, text, re.IGNORECASE | re.MULTILINE)


FITTING: Final = {
    "src/pulmospark/api/tables.py",  # reads tables
    "src/pulmospark/core/tables.py",  # the import path of an earlier version
    "src/pulmospark/report/content.py",
    "src/pulmospark/report/tables.py",  # of the page
}
"""modules whose names say what they hold, although another of that name did not"""


def hits() -> list[Hit]:
    """Every occurrence in the sources, the documentation and the changelog's unreleased part."""
    found_hits = []
    for path in _files():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        if name == "CHANGELOG.md":
            text = unreleased(text)
        found_hits += list(hits_in(name, text))
        if name.startswith("src/") and path.stem in MODULES and name not in FITTING:
            found_hits.append(Hit(name, 0, path.stem, "name of a module", MODULES[path.stem]))
    return found_hits


def hits_in(name: str, text: str) -> Iterator[Hit]:
    """Every occurrence in one file.

    Args:
        name: its path from the root, with slashes.
        text: its content.
    """
    for term in TERMS:
        if re.search(term.only, name):
            for match in matches(term, text):
                line = text.count("\n", 0, match.start()) + 1
                yield Hit(name, line, match[0].strip(), term.name, term.better)


def unreleased(changelog: str) -> str:
    """The part of a changelog above the first released version."""
    return re.split(r"^## \[\d", changelog, maxsplit=1, flags=re.MULTILINE)[0]


def _files() -> Iterator[Path]:
    yield from sorted((ROOT / "src").rglob("*.py"))
    yield from sorted(path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".py"})
    yield from sorted(ROOT.glob("*.md"))


def main() -> int:
    """List the occurrences; the exit code."""
    occurrences = hits()
    print(*occurrences, sep="\n")
    print(f"{len(occurrences)} in all")
    return int(bool(occurrences))


if __name__ == "__main__":
    sys.exit(main())
