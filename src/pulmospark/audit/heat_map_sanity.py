"""Whether heat maps depend on what the model learned.

Adebayo et al. 2018, Sanity Checks for Saliency Maps: with random weights in place of the trained
ones, a map that stays the same shows edges of the image, not the model's evidence.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from pulmospark.audit.heat_maps import mean_share
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core.arrays import Floats, Ints, Pixels, Singles
from pulmospark.core.counts import counted
from pulmospark.inference.explain.torch_maps import TorchMaps
from pulmospark.models.zoo.network import Network

SANITY = ("heat_map_sanity", "Heat maps that do not depend on the trained weights")
_WARN, _FAIL = 0.5, 0.8
_PATIENTS_MIN = 8
_IMAGES_MAX = 32
"""images; each takes two passes through the network, and correlations vary little"""
_CALIBRATION_IMAGES = 16


def audit(subject: Subject, scored: Scored, rows: Ints, images: Pixels) -> AuditResult:
    """Rank correlation between heat maps of the trained network and of one with random weights.

    Args:
        subject: what is audited.
        scored: its model and the predictions.
        rows: int64 (n,), places of the images in the subject's rows, rising.
        images: (n, size, size) uint8.
    """
    some = np.arange(len(rows))[:: max(1, -(-len(rows) // _IMAGES_MAX))]
    rows, images = rows[some], images[some]
    groups = subject.groups[rows]
    places = scored.probabilities["whole"][np.searchsorted(scored.rows, rows)].argmax(axis=1)
    network = scored.bundle.network()
    trained = TorchMaps(network, images.shape[1])
    random = TorchMaps(
        with_random_weights(network, images[:_CALIBRATION_IMAGES], subject.seed),
        images.shape[1],
        trained.method,
    )
    likeness = rank_correlations(trained.run(images, places).raw, random.run(images, places).raw)
    known = np.isfinite(likeness)
    patients = int(np.unique(groups[known]).size)
    if patients < _PATIENTS_MIN:
        return not_assessable(
            *SANITY,
            f"heat maps of {patients} patients vary over the image; {_PATIENTS_MIN} are needed",
            "more images",
        )
    figure = mean_share(
        likeness[known],
        groups[known],
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )
    low = figure.low or 0.0
    verdict: Verdict = "fail" if low > _FAIL else "warn" if low > _WARN else "pass"
    return AuditResult(
        name=SANITY[0],
        title=SANITY[1],
        verdict=verdict,
        sentence=f"Between heat maps of the trained network and of one with random weights the "
        f"mean rank correlation is {figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f}), "
        f"over {counted(int(known.sum()), 'image')} of {counted(patients, 'patient')}.",
        figures=(NamedFigure(name="mean rank correlation", figure=figure, scale="number"),),
        threshold=f"warns when the lower bound exceeds {_WARN}, fails when it exceeds {_FAIL}",
        why="a map that random weights leave as it is shows structures of the image, whatever the "
        "model learned; a map that they change need not be right",
        remedy="" if verdict == "pass" else "do not rely on this network's heat maps",
    )


def with_random_weights(network: Network, images: Pixels, seed: int) -> Network:
    """A copy of a network with its weights shuffled, each tensor within itself.

    Shuffling keeps the weights' distribution. Statistics of batch normalisation are measured
    anew, because those of the trained network would not fit.

    Args:
        network: unchanged.
        images: (n, size, size) uint8, for the statistics.
        seed: of the shuffling.
    """
    shuffled = copy.deepcopy(network).requires_grad_(requires_grad=False)
    random = np.random.default_rng(seed)
    norms = [m for m in shuffled.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for value in shuffled.parameters():
            flat = value.view(-1)
            flat.copy_(flat[torch.from_numpy(random.permutation(flat.numel()))].clone())
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # an average over all that follows
            norm.train()
        if norms:
            shuffled.features(torch.from_numpy(images))
    return shuffled.eval()


def rank_correlations(first: Singles, second: Singles) -> Floats:
    """Spearman's correlation of each pair of maps; NaN where one of them is constant.

    Args:
        first: (n, rows, columns).
        second: the same shape.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - half a second, for this audit alone

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((one * two).sum(axis=1) / spread, np.float64)
