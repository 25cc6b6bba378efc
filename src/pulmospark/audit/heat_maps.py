"""How much of a heat map lies outside the lungs."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pulmospark.audit.results import AuditResult, NamedFigure, Verdict
from pulmospark.audit.subject import Subject
from pulmospark.audit.words import percent
from pulmospark.evaluation.results import Figure
from pulmospark.models.network import Network

Film = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_WARN, _FAIL = 0.5, 0.75


def heat_map(network: Network, film: Film) -> npt.NDArray[np.float64]:
    """Grad-CAM of the most probable class on the last convolution map (Selvaraju et al. 2017).

    For networks that average that map before one linear layer it is the class activation map of
    Zhou et al. (2016).

    Args:
        network: in evaluation mode.
        film: (size, size) uint8.

    Returns:
        (size, size) float64, 0 and above, summing to 1; all the same where no map is positive.
    """
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            kept.append(output)

    hooks = [module.register_forward_hook(keep) for module in network.backbone.modules()]
    try:
        with torch.enable_grad():
            pixels = torch.from_numpy(film[None].astype(np.float32)).requires_grad_()
            logits = network(pixels)
            last = kept[-1]
            (gradient,) = torch.autograd.grad(logits[0].max(), last)
    finally:
        for hook in hooks:
            hook.remove()
    weight = gradient.mean(dim=(2, 3), keepdim=True)
    small = torch.relu((weight * last).sum(dim=1))[0].detach().numpy().astype(np.float32)
    whole = np.asarray(
        cv2.resize(small, (film.shape[1], film.shape[0]), interpolation=cv2.INTER_LINEAR),
        np.float64,
    )
    total = whole.sum()
    return whole / total if total > 0 else np.full(film.shape, 1.0 / film.size)


def audit(subject: Subject, network: Network, films: Film, lungs: Mask) -> AuditResult:
    """Share of the heat maps that lies outside the lungs, beside the lungs' share of the film.

    Args:
        subject: what is audited.
        network: of the bundle.
        films: (n, size, size) uint8.
        lungs: (n, size, size).
    """
    shares = np.asarray(
        [heat_map(network, film)[~mask].sum() for film, mask in zip(films, lungs, strict=True)]
    )
    even = float((~lungs).mean())
    random = np.random.default_rng(subject.seed)
    draws = random.integers(0, shares.size, (subject.settings.replicates, shares.size))
    tail = (1 - subject.confidence) / 2
    low, high = np.quantile(shares[draws].mean(axis=1), [tail, 1 - tail])
    found = Figure(
        value=float(shares.mean()), low=float(low), high=float(high), method="bootstrap"
    )
    verdict: Verdict = "fail" if low > _FAIL else "warn" if low > _WARN else "pass"
    return AuditResult(
        name="heat_maps",
        title="Heat maps outside the lungs",
        verdict=verdict,
        sentence=f"{percent(found)} of the heat lies outside the lungs, on {shares.size} films; "
        f"spread evenly it would be {even:.1%}.",
        figures=(NamedFigure(name="heat outside the lungs", figure=found),),
        threshold=f"warns when the lower bound is above {_WARN:.0%}, fails above {_FAIL:.0%}",
        why="heat maps are coarse (7 x 7 fields stretched over the film), so that some spills "
        "over the edge of a lung; where half lies outside, the model does not look at the lungs",
        remedy="" if verdict == "pass" else "cut films to the lungs: `--set ingest.crop=lungs`",
    )
