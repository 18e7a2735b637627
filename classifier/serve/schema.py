"""The types of requests and answers; /openapi.json describes them to other programs."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class PredictRequest(BaseModel):
    """Pictures as texts."""

    model_config = ConfigDict(extra="forbid")
    pictures: list[str] = Field(
        description="Picture files in base64, with or without a leading data:image/…;base64, and "
        "as any tool writes it: with line breaks, in the alphabet for URLs, without padding. "
        "Addresses are not fetched."
    )


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str = Field(alias="class", description="The class's name.")
    probability: float = Field(ge=0, le=1, description="After temperature scaling.")


class Prediction(BaseModel):
    """What one picture shows, or why that cannot be said."""

    name: str | None = Field(description="The file's name, if the upload had one.")
    answer: str | None = Field(
        description="The class, by the model's thresholds; null where the model is not sure, the "
        "picture is none of the classes, or it was skipped."
    )
    known: bool | None = Field(
        description="Whether the picture is any of the classes at all; null where the model cannot "
        "tell, or the picture was skipped."
    )
    classes: list[ClassProbability] = Field(description="The most probable first.")
    error: str | None = Field(None, description="Why the picture was skipped, as a sentence.")


class PredictResponse(BaseModel):
    """Answers in the order of the pictures."""

    predictions: list[Prediction]


class Explanation(BaseModel):
    """Where in a picture the evidence for a class lies."""

    name: str = Field(alias="class", description="The class that was looked for.")
    overlay: str = Field(description="A PNG as data: address: the picture under a heat map.")
    empty: bool = Field(description="Whether no place speaks for the class by itself.")


class Neighbor(BaseModel):
    """A training picture that the network finds much like the one that was sent."""

    name: str = Field(alias="class", description="Its class.")
    distance: float = Field(description="Cosine distance of the embeddings, 0 to 2.")
    picture: str = Field(description="A PNG as data: address, as the network sees it.")


class Neighbors(BaseModel):
    """The nearest training pictures, nearest first."""

    neighbors: list[Neighbor]


class Example(BaseModel):
    """A picture of the test set."""

    picture: str = Field(description="Its path on this server.")
    label: str = Field(description="Its true class.")


class Health(BaseModel):
    """Whether the server answers."""

    status: str = Field(description='"ok", or "stopping".')


class ModelCard(BaseModel):
    """The model and what the server accepts."""

    network: str
    source: str = Field(description="The file or revision that it was read from.")
    backend: str = Field(description='What computes: "torch" or "onnx".')
    classes: list[str]
    image_size: int = Field(description="Side of what the network sees, in pixels.")
    channels: int = Field(description="1 (gray) or 3 (color).")
    resize: str = Field(
        description="How images are brought to that size: squash, crop or pad, and by which filter."
    )
    temperature: float
    decision: dict[str, Any] | None = Field(
        description="How an answer follows from the probabilities; null: the most probable class."
    )
    metrics: dict[str, Any] = Field(description="Of its evaluation, where they are known.")
    explains: bool = Field(description="Whether /explain answers.")
    shows_neighbors: bool = Field(description="Whether /neighbors answers.")
    light_ink: bool = Field(description="Whether its pictures are light on dark.")
    limits: dict[str, float]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="A sentence for people.")
