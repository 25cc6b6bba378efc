"""Audits of a model: of one that takes shortcuts, of one that does not, and of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from benchmarks.audit_images import CLASSES

from audit.data_cases import IMAGES, add, case, subject_of
from audit.test_audit_not_assessable import COVERS, _heat, scored
from pulmospark.audit import features, out_of_distribution, shortcuts
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.results import AuditResult
from pulmospark.audit.subject import Subject

# Shortcuts of a model.


def _covered(strength: float, cover: str, images: int = IMAGES) -> tuple[Subject, Scored]:
    """A model that names the classes under one more cover as well as a strength lets it."""
    subject = subject_of(images)
    model = scored(subject)
    logits = np.random.default_rng(4).normal(0, 1, (images, 3))
    logits[np.arange(images), subject.labels] += strength
    powers = np.exp(logits)
    chances = {**model.probabilities, cover: powers / powers.sum(axis=1, keepdims=True)}
    return subject, replace(model, probabilities=chances)


def _of_classes(classes: tuple[str, ...]) -> tuple[Subject, Scored]:
    """A model of other classes; of those of the images that it has none of."""
    subject = subject_of()
    model = scored(subject)
    model.bundle.config.classes = classes
    return subject, model


def _folds() -> tuple[Subject, Scored]:
    subject = subject_of(fold=[n // 2 % 5 for n in range(IMAGES)])
    model = scored(subject, unseen=np.zeros(IMAGES, bool))
    random = np.random.default_rng(1)
    covered = {name: model.features + random.normal(0, 0.6 + n, model.features.shape)
               for n, name in enumerate(COVERS)}  # fmt: skip
    return subject, replace(model, covered={**covered, "whole": model.features})


def _network_with_folds() -> tuple[Subject, Scored]:
    subject, model = _folds()
    return subject, replace(model, covered={})


def _nothing_hidden() -> tuple[Subject, Scored]:
    subject = subject_of()
    return subject, scored(subject, unseen=np.zeros(IMAGES, bool))


def _few_patients() -> tuple[Subject, Scored]:
    few = [f"alder:{n % 9}" for n in range(IMAGES)]
    subject = subject_of(group_id=few, patient_id=few)
    return subject, scored(subject)


def _few_and_all_seen() -> tuple[Subject, Scored]:
    subject, model = _few_patients()
    return subject, replace(model, unseen=np.zeros(IMAGES, bool))


def _blind() -> tuple[Subject, Scored]:
    subject = subject_of()
    noise = np.random.default_rng(5).dirichlet(np.ones(3), (5, IMAGES))
    return subject, scored(subject, probabilities=dict(zip(COVERS, noise, strict=True)))


def _all_region() -> tuple[Subject, Scored]:
    subject = subject_of()
    return subject, scored(subject, region=np.ones((8, 8), bool))


def _no_letters() -> tuple[Subject, Scored]:
    subject = subject_of()
    model = scored(subject)
    whole = model.probabilities["whole"]
    return subject, replace(
        model, probabilities={**model.probabilities, "without text": whole.copy()}
    )


for _name, _shortcut, _cover in (
    ("covered lungs", shortcuts.covered, "without lungs"),
    ("burned_in_text", shortcuts.burned_in_text, "without text"),
):
    for _what, _model in {
        "none": lambda cover: _covered(3.0 if cover == "without text" else 0.0, cover),
        "some": lambda cover: _covered(1.4 if cover == "without text" else 0.9, cover),
        "strong": lambda cover: _covered(0.7 if cover == "without text" else 2.5, cover),
        "border": lambda _: _covered(2.5, "only border"),
        "a class that the model does not have": lambda _: _of_classes((*CLASSES[:2], "other")),
        "no class of the model": lambda _: _of_classes(("covid", "healthy", "ill")),
        "classes in another order": lambda _: _of_classes((CLASSES[1], CLASSES[0], CLASSES[2])),
        "folds": lambda _: _folds(),
        "folds of a network": lambda _: _network_with_folds(),
        "all trained on": lambda _: _nothing_hidden(),
        "few patients": lambda _: _few_patients(),
        "few patients, all trained on": lambda _: _few_and_all_seen(),
        "a model that knows nothing": lambda _: _blind(),
        "lungs everywhere": lambda _: _all_region(),
        "nothing painted over": lambda _: _no_letters(),
    }.items():
        add(
            f"{_name}: {_what}",
            lambda run=_shortcut, model=_model, cover=_cover: run(*model(cover)),  # type: ignore[misc]
        )

# Features of a model.


def _with_source(strength: float, few: int = 0) -> tuple[Subject, Scored]:
    """Features that hold the source; the first patients are of a third one."""
    people = np.arange(IMAGES) // 2
    source = np.where(people < few, "cedar", np.where(people < 150, "alder", "birch"))
    subject = subject_of(source=source.tolist())
    model = scored(subject)
    told = model.features.copy()
    told[:, 5] += strength * (source == "birch")
    return subject, replace(model, features=told)


def _opposite(outside: float, few: int = 0, blind: int = 0) -> tuple[Subject, Scored]:
    """In one source the features say less of the class, or nothing, than in the other."""
    people = np.arange(IMAGES) // 2
    source = np.where(people < 150, "alder", "birch")
    source = np.where(people < few, "cedar", source)
    source = np.where((people >= 300 - blind), "dogwood", source)
    subject = subject_of(source=source.tolist())
    model = scored(subject)
    told = np.random.default_rng(2).normal(0, 1, (IMAGES, 8))
    sign = np.where(source == "birch", 1.0, outside) * (source != "dogwood")
    told[np.arange(IMAGES), subject.labels] += 2.5 * sign
    return subject, replace(model, features=told)


def _noise() -> tuple[Subject, Scored]:
    subject = subject_of()
    told = np.random.default_rng(3).normal(0, 1, (IMAGES, 8))
    return subject, scored(subject, features=told)


def _constant() -> tuple[Subject, Scored]:
    subject = subject_of()
    return subject, scored(subject, features=np.ones((IMAGES, 8)))


def _one_source() -> tuple[Subject, Scored]:
    subject = subject_of(source=["alder"] * IMAGES)
    return subject, scored(subject)


def _strange(count: int) -> tuple[Subject, Scored]:
    subject = subject_of()
    model = scored(subject)
    told = model.features.copy()
    told[:, :] = told * 0.1 + 1.0
    told[:count] = -1.0 - 0.1 * np.arange(count)[:, None] * np.eye(8)[0]
    return subject, replace(model, features=told)


for _name, _feature, _models in (
    ("source in features", features.source, {
        "none": lambda: _with_source(0.0),
        "clear": lambda: _with_source(6.0),
        "one left out": lambda: _with_source(1.0, few=5),
        "one source": _one_source,
        "one of ten patients": lambda: (
            (s := subject_of(source=["alder"] * 590 + ["cedar"] * 10)), scored(s)
        ),
        "constant": _constant,
    }),
    ("left-out source", features.left_out_source, {
        "no gap": lambda: _opposite(1.0),
        "a gap": lambda: _opposite(0.2),
        "a wide gap": lambda: _opposite(-1.0),
        "one without patients": lambda: _opposite(1.0, few=5),
        "one blind": lambda: _opposite(-1.0, blind=60),
        "noise": _noise,
        "constant": _constant,
        "few patients": _few_patients,
        "one source": _one_source,
    }),
    ("unlike images", features.unlike, {
        "none": lambda: _strange(0),
        "a few": lambda: _strange(3),
        "many": lambda: _strange(9),
        "few patients": _few_patients,
        "constant": _constant,
    }),
):  # fmt: skip
    for _what, _made_model in _models.items():
        add(
            f"{_name}: {_what}",
            lambda run=_feature, model=_made_model: run(*model()),  # type: ignore[misc]
        )

# Heat maps, and what the model was never shown.

_EACH = [0] * 10 + [1] * 10 + [2] * 10
_LOWER = np.zeros((8, 8), bool)
_LOWER[5:] = True
_WIDE = np.ones((8, 8), bool)
_WIDE[:2] = False
add("heat maps: on the lungs", lambda: _heat(_EACH, list(range(30))))
add("heat maps: beside them", lambda: _heat(_EACH, list(range(30)), region=_LOWER))
add("heat maps: half beside them", lambda: _heat(_EACH, list(range(30)), region=_WIDE))
add(
    "heat maps: a rare class",
    lambda: _heat(_EACH, [*range(20), *[20] * 4, *range(21, 27)]),
)
add("heat maps: cold", lambda: _heat(_EACH, list(range(30)), cold=True))
add(
    "heat maps: lungs everywhere",
    lambda: _heat(_EACH, list(range(30)), region=np.ones((8, 8), bool)),
)


def _shown(sure: float, apart: bool, *, broken: str | None = None) -> AuditResult:
    """Strange pictures of which a model is so sure, and whose features lie apart or do not."""
    subject = subject_of(240)
    model = scored(subject)
    images = np.random.default_rng(1).integers(0, 256, (20, 32, 32)).astype(np.uint8)
    calls: list[int] = []

    def run(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert pictures.dtype == np.uint8
        assert pictures.shape == (16, 32, 32)
        kind = len(calls)
        calls.append(kind)
        rest = (1 - sure) / 2
        chance = np.tile([sure, rest, rest], (len(pictures), 1))
        chance[: 2 * kind] = 1 / 3  # fewer are sure of each further kind; the median stays
        random = np.random.default_rng(kind)
        told = random.normal(0, 1, (len(pictures), 8)) - (9.0 if apart else 0.0)
        if broken == "chance" and kind == 1:
            chance[3, 0] = np.nan
        if broken == "features" and kind == 2:
            told[3, 0] = np.inf
        return chance, told

    return out_of_distribution.audit(subject, model, images, run)


add("never shown: not sure", lambda: _shown(0.6, apart=True))
add("never shown: not sure, and alike", lambda: _shown(0.6, apart=False))
add("never shown: sure, and told apart", lambda: _shown(0.95, apart=True))
add("never shown: sure, and alike", lambda: _shown(0.95, apart=False))
add("never shown: no probability", lambda: _shown(0.95, apart=False, broken="chance"))
add("never shown: no feature", lambda: _shown(0.95, apart=False, broken="features"))


@case("never shown: the same for all")
def _(_folder: Path) -> AuditResult:
    subject = subject_of(120)
    flat = {name: np.full((120, 3), 1 / 3) for name in COVERS}
    model = scored(subject, probabilities=flat)
    return out_of_distribution.audit(
        subject,
        model,
        np.zeros((16, 32, 32), np.uint8),
        lambda _: flat,  # type: ignore[arg-type,return-value]
    )


@case("never shown: no numbers")
def _(_folder: Path) -> AuditResult:
    subject = subject_of(120)
    model = scored(subject)
    model.probabilities["whole"][0, 0] = np.nan
    return out_of_distribution.audit(
        subject,
        model,
        np.zeros((16, 32, 32), np.uint8),
        lambda _: None,  # type: ignore[arg-type,return-value]
    )
