"""The reference page of the networks."""

from __future__ import annotations

from reference_words import markdown, table

from pulmospark.models.zoo.catalogue import ZOO
from pulmospark.models.zoo.entry import CAREFUL, Recipe


def models_page() -> str:
    """The networks of the zoo."""
    rows = [
        (
            f"`{entry.name}`",
            entry.title,
            f"{entry.input_size}",
            f"{entry.max_size} only" if entry.max_size else f"{entry.min_size}",
            f"{entry.parameters:,}",
            f"{entry.width:,}",
            entry.weights_licence or "none published",
            markdown(entry.source),
        )
        for entry in ZOO.values()
    ]
    head = ("name", "network", "designed for, px", "at least, px", "parameters", "deep features",
            "ImageNet weights, licence", "published in")  # fmt: skip
    flat = [
        (f"`{entry.flat_map.name}`", f"{entry.flat_map.width:,}", f"{entry.input_size}")
        for entry in ZOO.values()
        if entry.flat_map
    ]
    guessed = [(f"`{entry.name}`", markdown("; ".join(entry.guessed))) for entry in ZOO.values()
               if entry.guessed]  # fmt: skip
    return (
        "# Networks\n\nValid values of `train.model`. [Weights and "
        "initialisation](../how-to/offline-weights.md) says where ImageNet weights come from. "
        "Parameters include the published output layer (1,000 classes for ImageNet weights).\n\n"
        + table(head, rows)
        + "\nAny other classifier of torchvision is available under its name, for example "
        "`torchvision:convnext_tiny`; with the extra `timm` so is any timm model, for example "
        "`timm:resnet18`. The head replaces its last linear layer. "
        "`pulmospark models NAME` shows its details.\n\n## Flattened maps\n\n"
        "A network's deep features are the input of its last linear layer, after pooling. "
        "The variants below return the flattened last convolutional map instead, at one size "
        "only.\n\n"
        + table(("name", "deep features", "px"), flat)
        + "\n## How they are trained\n\n"
        "Settings missing from `[train.network]` default to the model's recipe: learning rate of "
        "the last layer, its factor for each earlier stage, and batch size. They "
        "follow common practice and were not tuned; your own values override them. Fine-tuned "
        "means initialised from ImageNet weights or a bundle.\n\n"
        + _recipes()
        + "\nOther classifiers of torchvision and timm: "
        f"{CAREFUL.learning_rate:g}, {CAREFUL.stage_factor:g}, {CAREFUL.batch_size} fine-tuned.\n"
        + "\n## Details missing from the papers\n\n"
        + table(("name", "our choice"), guessed)
    )


def _recipes() -> str:
    recipes = [
        (f"`{entry.name}`", *_recipe(entry.fine_tuning if entry.weights else None),
         *_recipe(entry.from_scratch))
        for entry in ZOO.values()
    ]  # fmt: skip
    head = ("name", "fine-tuned: rate", "factor", "batch", "from scratch: rate", "factor", "batch")
    return table(head, recipes)


def _recipe(recipe: Recipe | None) -> tuple[str, str, str]:
    if recipe is None:
        return ("", "", "")
    return f"{recipe.learning_rate:g}", f"{recipe.stage_factor:g}", f"{recipe.batch_size}"
