"""The model at work: pictures are admitted, decoded in threads, classified in batches."""

import asyncio
import base64
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from PIL import Image

from classifier.core.engine import cores
from classifier.core.types import Float32Array, UInt8Array
from classifier.inference.neighbors import Neighbor, TrainingImages
from classifier.inference.predictor import Predictor
from classifier.serve.batching import Batcher
from classifier.serve.budget import Budget
from classifier.serve.limits import Limits, RefusedError
from classifier.serve.metrics import Metrics
from classifier.serve.uploads import Upload, pixels

Found = Float32Array | RefusedError
_SHOWN = 224  # pixels that an explained picture is at least shown at


class Service:
    """A predictor for many clients at once. All methods belong to one event loop."""

    def __init__(
        self,
        predictor: Predictor,
        limits: Limits,
        metrics: Metrics,
        known: TrainingImages | None = None,
    ) -> None:
        """Put a predictor to work; ``known`` are the training images that pictures may be like."""
        self.predictor, self.limits, self.metrics = predictor, limits, metrics
        self.known = known
        self.spec = predictor.spec
        self._batcher = Batcher(
            predictor.scored, limits.batch, limits.wait_seconds, metrics.batches.observe
        )
        self.bodies = Budget(limits.in_flight_bytes, limits.client_bytes, metrics.bodies)
        self._decoders = ThreadPoolExecutor(cores(), "decode")
        self._admitted: Counter[str] = Counter()  # pictures under way by client
        size = self.spec.image_size
        # The first call is slow in every library: it is made before the first client comes.
        blank = np.zeros((1, size, size, self.spec.channels), np.uint8)
        predictor.scored(blank)
        self.explains = predictor.heat(blank, [0]) is not None
        self.stopping = False

    async def start(self) -> None:
        """Begin to answer."""
        await self._batcher.start()

    def say_stopping(self) -> None:
        """Tell whoever asks that the end is near; answer what waits."""
        self.stopping = True
        self._batcher.hurry()

    async def stop(self) -> None:
        """Finish what was accepted."""
        self.say_stopping()
        await self._batcher.stop()
        self._decoders.shutdown(cancel_futures=True)

    @contextmanager
    def admitted(self, client: str, number: int) -> Iterator[None]:
        """Count ``number`` pictures of a client as under way while the block runs.

        Raises:
            RefusedError: 429 the client has too many under way, 503 all clients together have.
        """
        own, most = self._admitted[client], self.limits.per_client
        if most and own and own + number > most:
            raise RefusedError(429, "You have too many pictures under way: wait for the answers.")
        everyone = self._admitted.total()
        if everyone and everyone + number > self.limits.queue:
            raise RefusedError(503, "The server is busy: try again in a moment.")
        self._admitted[client] += number
        self.metrics.waiting.set(everyone + number)
        try:
            yield
        finally:
            self._admitted[client] -= number
            if not self._admitted[client]:
                del self._admitted[client]
            self.metrics.waiting.set(self._admitted.total())

    async def classify(self, parts: Sequence[Upload]) -> list[Found]:
        """For each picture what the predictor scores [K + 1], or why there is nothing."""
        return list(await asyncio.gather(*(self._one(part.data) for part in parts)))

    async def _one(self, data: bytes | str) -> Found:
        try:
            found: Found = await self._batcher.ask(await self.decoded(data))
        except RefusedError as refusal:
            found = refusal
        outcome = "skipped" if isinstance(found, RefusedError) else "answered"
        self.metrics.pictures.labels(outcome).inc()
        return found

    async def decoded(self, data: bytes | str) -> UInt8Array:
        """The picture [S, S, C] that the network sees; RefusedError as of `pixels`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, pixels, data, self.spec, self.limits)

    async def explained(self, data: bytes | str, target: int | None) -> tuple[int, str, bool]:
        """The class, by default the most probable, the picture under its heat map, and whether
        the map shows anything: Grad-CAM is empty where no place speaks for the class by itself.

        The picture is a PNG as a data: address. RefusedError as of `pixels`.
        """
        picture = await self.decoded(data)

        def explain() -> tuple[int, str, bool]:
            batch = picture[None]
            chosen = target
            if chosen is None:
                chosen = int(self.predictor.probabilities(batch).argmax())
            heat = self.predictor.heat(batch, [chosen])
            assert heat is not None
            return chosen, _overlay(picture, heat[0]), bool(heat.any())

        return await self._batcher.alone(explain)

    async def neighbors(self, data: bytes | str) -> list[Neighbor]:
        """The training images that the network finds most like a picture, nearest first.

        Raises:
            RefusedError: as of `pixels`.
        """
        picture, known = await self.decoded(data), self.known
        assert known is not None
        (found,) = await self._batcher.alone(lambda: known.beside(picture[None]))
        return found


def _overlay(picture: UInt8Array, heat: Float32Array) -> str:
    from classifier.report.figures import tiles

    # Both are enlarged first, so that a picture of few pixels gets a smooth map.
    factor = -(-_SHOWN // len(picture))
    large = tiles.color(picture).repeat(factor, axis=0).repeat(factor, axis=1)
    smooth = Image.fromarray(heat).resize(large.shape[1::-1], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    Image.fromarray(tiles.heat(large, np.asarray(smooth))).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
