"""How much of a heat map lies outside the lungs."""

from __future__ import annotations

import numpy as np

from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.phrasing import named, percent
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core.arrays import Floats, Ints, Mask, Pixels, Singles
from pulmospark.core.counts import counted
from pulmospark.evaluation.results import Figure
from pulmospark.inference.explain.heat_map import relative_heat
from pulmospark.inference.explain.torch_maps import TorchMaps

HEAT = ("heat_maps", "Heat maps outside the lungs")
_REMEDIES = {"pass": "", "not assessable": "more images of these classes"}
_PATIENTS_MIN = 8
"""patients with images predicted as a class that its metric needs"""


def audit(subject: Subject, scored: Scored, rows: Ints, images: Pixels) -> AuditResult:
    """Share of the heat maps outside the lung region, for each predicted class.

    Args:
        subject: what is audited.
        scored: its model, the predictions and the lung region.
        rows: int64 (n,), places of the images in the subject's rows, rising.
        images: (n, size, size) uint8.
    """
    outside = ~scored.region
    predicted = scored.probabilities["whole"][np.searchsorted(scored.rows, rows)].argmax(axis=1)
    names, groups = scored.bundle.config.classes, subject.groups[rows]
    even = float(outside.mean())
    if not 0.0 < even < 1.0:
        return not_assessable(*HEAT, "the lung region covers the whole image, or none of it")
    maps = TorchMaps(scored.bundle.network(), images.shape[1])
    counts, figures, few = {}, {}, []
    for kind, name in enumerate(names):
        mine = predicted == kind
        patients = int(np.unique(groups[mine]).size)
        counts[name] = f"{counted(int(mine.sum()), 'image')} of {counted(patients, 'patient')}"
        share = None
        if patients >= _PATIENTS_MIN:
            raw = maps.run(images[mine], predicted[mine]).raw
            share = _share(subject, raw, groups[mine], outside)
        if share is None:
            few.append(f"{name} ({counts[name]})")
        else:
            figures[name] = share
    if not figures:
        why = (
            f"no class was predicted for images of {_PATIENTS_MIN} patients with a heat map: "
            f"{named(few)}"
        )
        return not_assessable(*HEAT, why)
    worst = max(figures, key=lambda name: figures[name].low or 0.0)
    low = figures[worst].low or 0.0
    verdict: Verdict = "fail" if low > (1 + even) / 2 else "warn" if low > even else "pass"
    if verdict == "pass" and few:
        verdict = "not assessable"
    return AuditResult(
        name=HEAT[0],
        title=HEAT[1],
        verdict=verdict,
        sentence=f"Of the heat for {worst}, {percent(figures[worst])} lies outside the lungs; a "
        f"uniform map would have {even:.1%}."
        + f" Not assessable for {named(few)}: fewer than {_PATIENTS_MIN} patients, or no heat."
        * bool(few),
        figures=tuple(
            NamedFigure(name=f"heat outside the lungs, {name}: {counts[name]}", figure=figure)
            for name, figure in sorted(figures.items(), key=lambda pair: pair[0] != worst)
        ),
        threshold="warns when the lower bound for a class exceeds the share of a uniform map, "
        "fails when it is closer to 100 %",
        why="heat maps are coarse (7 x 7 fields, upsampled) and spill over lung borders, so the "
        "share alone says little; but heat no more concentrated on the lungs than a uniform map "
        "points elsewhere. Heat on the lungs does not prove that the model sees the disease",
        remedy=_REMEDIES.get(verdict, "crop images to the lungs: `--set ingest.crop=lungs`"),
    )


def _share(
    subject: Subject,
    raw: Singles,
    groups: Ints,
    outside: Mask,
) -> Figure | None:
    """Mean share of the heat outside the lungs, with a CI from a bootstrap over patients.

    Over maps that have heat; ``None`` where those cover too few patients.
    """
    warm = (raw > 0).any(axis=(1, 2))
    if np.unique(groups[warm]).size < _PATIENTS_MIN:
        return None
    maps = [relative_heat(each, len(outside)).astype(np.float64) for each in raw[warm]]
    shares = np.asarray([heat[outside].sum() / heat.sum() for heat in maps])
    return mean_share(
        shares,
        groups[warm],
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )


def mean_share(
    shares: Floats,
    groups: Ints,
    *,
    seed: int,
    replicates: int,
    confidence: float,
) -> Figure:
    """Mean of a share over images, with a CI from a bootstrap over patients.

    Args:
        shares: (n,) of each image.
        groups: (n,) patient.
        seed: of the bootstrap.
        replicates: how many.
        confidence: level of the CI.
    """
    _, places = np.unique(groups, return_inverse=True)
    sums, images = np.bincount(places, weights=shares), np.bincount(places)
    random = np.random.default_rng(seed)
    draws = random.integers(0, sums.size, (replicates, sums.size))
    means = sums[draws].sum(axis=1) / images[draws].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Figure(value=float(shares.mean()), low=float(low), high=float(high), method="bootstrap")
