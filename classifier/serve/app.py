"""The HTTP interface: which path does what, and which status says what."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from classifier.inference.outputs import png_address
from classifier.models.decision import Decision
from classifier.serve import schema
from classifier.serve.examples import Examples
from classifier.serve.framing import Framing
from classifier.serve.hang_up import unless_gone
from classifier.serve.limits import RefusedError
from classifier.serve.service import Found, Service
from classifier.serve.uploads import Upload, uploads
from classifier.web.files import send_files
from classifier.web.hosts import OwnNames, own_network

PAGE = Path(__file__).with_name("page")
ASSETS = {
    "/": PAGE / "index.html",
    "/docs": PAGE / "docs.html",
    **{
        f"/{name}": PAGE / name
        for name in ("page.css", "page.js", "draw.js", "camera.js", "docs.js", "icon.svg")
    },
}
# Times the limit of a body that is read and thrown away, so that the client hears the refusal.
_DRAINED = 4
_FORM = {"schema": {"type": "object", "properties": {"pictures": {
    "type": "array", "items": {"type": "string", "format": "binary"}}}}}  # fmt: skip
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _FORM,
            "application/json": {"schema": schema.PredictRequest.model_json_schema()},
        },
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Problem, "description": words}
    for status, words in {
        400: "Not HTTP as it should be, or a name that is not the server's.",
        403: "Asked by a page of another site.",
        408: "The request took too long.",
        413: "Too large, too many pictures, or too many pixels.",
        415: "Neither a form nor JSON, or no known picture format.",
        422: "Not readable, or no picture at all.",
        429: "Too many pictures or bytes of this client are under way.",
        503: "Too many pictures or bytes are under way, or the server is stopping.",
    }.items()
}


def create_app(
    service: Service,
    examples: Examples,
    source: str,
    metrics: Mapping[str, Any],
    names: Sequence[str] = ("localhost",),
) -> FastAPI:
    """Build the application around a service.

    Args:
        service: the model at work; started and stopped with the application.
        examples: pictures for the page, perhaps none.
        source: what the model was read from, for people.
        metrics: of the model's evaluation.
        names: that the server goes by, of `own_names`; requests to others are refused.
    """
    spec, limits = service.spec, service.limits
    decision = spec.decision or Decision()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    # FastAPI's own pages load scripts from another host: /docs is one of ours.
    app = FastAPI(
        title="Image classifier",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )

    @app.exception_handler(RefusedError)
    async def refused(_: Request, refusal: RefusedError) -> JSONResponse:
        again = {"retry-after": "1"} if refusal.status in (429, 503) else None
        return JSONResponse({"detail": refusal.sentence}, refusal.status, again)

    @app.exception_handler(ClientDisconnect)
    async def vanished(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody hears it; it is counted

    @app.post("/predict", responses=_PROBLEMS, openapi_extra=_BODY)
    async def predict(
        request: Request, top: Annotated[int, Query(ge=1, le=1000)] = 5
    ) -> schema.PredictResponse:
        """Classify one or many pictures.

        Pictures that cannot be read are answered with a sentence in their place; when that holds
        for all of them, the status says so too.
        """
        async with uploads(request, _client(request), limits, service.bodies) as parts:
            with service.admitted(_client(request), len(parts)):
                found = await unless_gone(request, service.classify(parts))
        problems = [answer for answer in found if isinstance(answer, RefusedError)]
        if len(problems) == len(found):
            raise problems[0]
        answers = zip(parts, found, strict=True)
        return schema.PredictResponse(
            predictions=[_prediction(part, answer, top) for part, answer in answers]
        )

    def _prediction(part: Upload, answer: Found, top: int) -> schema.Prediction:
        if isinstance(answer, RefusedError):
            return schema.Prediction(
                name=part.name, answer=None, known=None, classes=[], error=answer.sentence
            )
        order = np.argsort(-answer[:-1], kind="stable")[:top].tolist()
        classes = [
            schema.ClassProbability.model_validate(
                {"class": spec.classes[k], "probability": min(1.0, float(answer[k]))}
            )
            for k in order
        ]
        said = decision.verdict(answer, spec.classes)
        return schema.Prediction(
            name=part.name,
            answer=spec.classes[said.label] if said.sure else None,
            known=said.known if decision.known_by else None,
            classes=classes,
            error=None,
        )

    @app.post("/explain", responses=_PROBLEMS, openapi_extra=_BODY)
    async def explain(
        request: Request, wanted: Annotated[str | None, Query(alias="class")] = None
    ) -> schema.Explanation:
        """Show where in one picture the evidence for a class lies (Grad-CAM)."""
        if not service.explains:
            raise RefusedError(
                501, "Not available: heat maps need torch, and a network with convolutions."
            )
        if wanted is not None and wanted not in spec.classes:
            raise RefusedError(422, "There is no such class.")
        target = spec.classes.index(wanted) if wanted is not None else None
        async with uploads(request, _client(request), limits, service.bodies) as parts:
            if len(parts) > 1:
                raise RefusedError(413, "Only one picture can be explained at a time.")
            with service.admitted(_client(request), 1):
                answer = service.explained(parts[0].data, target)
                chosen, overlay, shows = await unless_gone(request, answer)
        return schema.Explanation.model_validate(
            {"class": spec.classes[chosen], "overlay": overlay, "empty": not shows}
        )

    @app.post("/neighbors", responses=_PROBLEMS, openapi_extra=_BODY)
    async def neighbors(request: Request) -> schema.Neighbors:
        """Show the training pictures that the network finds most like one picture."""
        if service.known is None:
            raise RefusedError(501, "Not available: this server has no training pictures.")
        async with uploads(request, _client(request), limits, service.bodies) as parts:
            if len(parts) > 1:
                raise RefusedError(413, "Only one picture can be compared at a time.")
            with service.admitted(_client(request), 1):
                found = await unless_gone(request, service.neighbors(parts[0].data))
        return schema.Neighbors.model_validate(
            {
                "neighbors": [
                    {
                        "class": one.label,
                        "distance": one.distance,
                        "picture": png_address(one.pixels),
                    }
                    for one in found
                ]
            }
        )

    @app.get("/health", responses={503: {"model": schema.Health}})
    async def health(response: Response) -> schema.Health:
        """Tell whether requests are answered."""
        response.status_code = 503 if service.stopping else 200
        return schema.Health(status="stopping" if service.stopping else "ok")

    @app.get("/model")
    async def model() -> schema.ModelCard:
        """Describe the model and what the server accepts."""
        return schema.ModelCard(
            network=spec.name,
            source=source,
            backend=service.predictor.backend,
            classes=list(spec.classes),
            image_size=spec.image_size,
            channels=spec.channels,
            resize=str(spec.resize),
            temperature=spec.temperature,
            decision=asdict(spec.decision) if spec.decision else None,
            metrics=dict(metrics),
            explains=service.explains,
            shows_neighbors=service.known is not None,
            light_ink=sum(spec.mean) / len(spec.mean) < 0.5,
            limits={
                "body_bytes": limits.body_bytes,
                "pixels": limits.pixels,
                "files": limits.files,
            },
        )

    @app.get("/examples")
    async def listing(
        wanted: Annotated[str | None, Query(alias="class")] = None,
    ) -> list[schema.Example]:
        """List some pictures of the test set, of one class or of many."""
        return [
            schema.Example(picture=f"examples/{number}.png", label=examples.labels[number])
            for number in examples.of(wanted)
        ]

    @app.get("/examples/{number}.png", response_class=Response)
    async def example(number: int) -> Response:
        """Send one of the listed pictures."""
        if number not in examples.labels:
            return JSONResponse({"detail": "There is no such example."}, 404)
        return Response(examples.png(number), media_type="image/png")

    send_files(app, ASSETS)
    # The last one is the first that a request passes.
    app.add_middleware(OwnNames, allowed_hosts=names, www_redirect=False)
    app.add_middleware(Framing, most=_DRAINED * limits.body_bytes, last=lambda: service.stopping)
    service.metrics.instrument(app)
    return app


def _client(request: Request) -> str:
    """Who asks: an address, or the network of it that one subscriber has all of (IPv6)."""
    return own_network(request.client.host) if request.client else ""
