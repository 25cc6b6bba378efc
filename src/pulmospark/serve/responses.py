"""What the REST interface answers: the models that OpenAPI and the reference page are made of.

Names and texts that came from outside (``name``) are for display only: show them as text, never as
markup, a path or an address.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["scored", "rejected"]
JobStatus = Literal["waiting", "running", "done", "failed", "cancelled"]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class ModelName(Answer):
    """The model that answered."""

    name: str
    """the network's name in the zoo"""
    digest: str
    """SHA-256 of configuration and tensors"""
    phantoms: bool
    """trained on phantoms: its answers say nothing about a person"""


class DecisionAnswer(Answer):
    """The decision at an operating point."""

    positive_class: str
    threshold: float
    positive: bool
    """whether the probability is at or above the threshold"""
    sensitivity_target: float | None
    """reached by the threshold on the validation split"""


class CautionAnswer(Answer):
    """Why a prediction may be meaningless."""

    code: str
    """a ``core.schemas.Caution``"""
    text: str
    """the same in words"""


class HeatMapAnswer(Answer):
    """Where the network looked."""

    url: str
    """of the map as a transparent PNG, in the original image's coordinates; a ``data:`` URL where
    nothing is stored"""
    method: str
    class_name: str = Field(alias="class")
    outside_lungs: float | None
    """share of the map outside the lungs, 0 to 1; ``null``: the lungs were not found"""


class ImageAnswer(Answer):
    """Facts about the image; identifiers are pseudonyms."""

    rows: int | None
    columns: int | None
    modality: str
    study: str | None
    series: str | None
    slice_index: int | None
    stored: bool
    """whether ``image.png``, ``pixels`` and ``overlay.png`` of the result can be had"""


class ResultAnswer(Answer):
    """The result for one image, or the reason why a file was rejected."""

    id: str
    name: str
    """of the uploaded file, for display only; not stored in the audit log"""
    source: str
    """where the image came from: ``rest``, ``page`` or ``job:ID``"""
    created_at: str
    """ISO 8601, UTC"""
    status: Status
    reject_reason: str | None
    reject_detail: str | None
    probabilities: dict[str, float]
    """class -> probability, in the order of the bundle; empty for a reject"""
    prediction: str | None
    """the most probable class"""
    decisions: list[DecisionAnswer]
    cautions: list[CautionAnswer]
    abstained: bool
    """the image is outside what the model was trained on: do not use prediction and decision"""
    distance: float | None
    """from the training images, about 1 for most of them; ``null``: not assessable"""
    heatmap: HeatMapAnswer | None
    image: ImageAnswer | None
    seconds: float
    """from the upload's end to the result"""
    model: ModelName


class PredictAnswer(Answer):
    """The results of one request, in the order of its files and their images."""

    request: str
    """id of the request in the ledger and the audit log"""
    results: list[ResultAnswer]
    model: ModelName
    not_a_medical_device: str


class ResultsAnswer(Answer):
    """A page of the worklist."""

    results: list[ResultAnswer]
    next_cursor: str | None
    """of the next page; ``null``: this is the last one"""
    total: int
    """results that match the filters"""
    not_a_medical_device: str


class StudyAnswer(Answer):
    """The images of a study in the order of its slices."""

    study: str
    results: list[ResultAnswer]
    not_a_medical_device: str


class JobRequest(BaseModel):
    """A batch job."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(max_length=4096)
    """folder or images table below one of the folders given with ``--inputs``, relative to it"""
    name: str = Field(default="", max_length=200)
    """for display only"""


class JobAnswer(Answer):
    """A batch job."""

    id: str
    name: str
    input: str
    status: JobStatus
    created_at: str
    finished_at: str | None
    done: int
    """images and rejects so far"""
    total: int
    """files of the input; 0: not listed yet"""
    error: str | None
    result: dict[str, Any] | None
    """the content of ``predict.json``'s result, where it is done"""


class JobsAnswer(Answer):
    """All batch jobs, the latest first."""

    jobs: list[JobAnswer]


class OperatingPointAnswer(Answer):
    """A threshold with what it was chosen on."""

    positive_class: str
    threshold: float
    sensitivity_target: float | None


class VerdictAnswer(Answer):
    """The verdict of one audit of the run that trained the model."""

    audit: str
    title: str
    verdict: str
    text: str


class ModelAnswer(Answer):
    """The served model."""

    model: ModelName
    classes: list[str]
    operating_points: list[OperatingPointAnswer]
    card: str
    """the model card, Markdown"""
    metrics: dict[str, Any]
    precision: str
    """of the network's arithmetic"""
    engine: str
    """the library that runs the network"""
    heatmaps: bool
    """whether ``heatmap=true`` is answered"""
    loaded_at: str
    run: str | None
    """name of the run that trained it, if its folder is next to the bundle"""
    audits: list[VerdictAnswer]
    """empty where the run is not known or was not audited"""
    not_a_medical_device: str


class ModelRequest(BaseModel):
    """Which bundle to take up."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, max_length=255)
    """of a bundle in the folder given with ``--bundles``; ``null``: the served bundle, read
    again"""


class HealthAnswer(Answer):
    """Whether the service works."""

    status: str
    detail: str | None = None


class ErrorBody(Answer):
    """One error."""

    kind: str
    message: str


class ErrorAnswer(Answer):
    """Every answer with a status of 400 or above."""

    error: ErrorBody
