"""A network and all that one step of its training needs: the set-up, and the step.

`loop.train` and `classifier.experiments.learning_rate_finder` have it in common.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.augment import geometric
from classifier.augment.augmenter import Augmenter, AugmentParams
from classifier.augment.draws import Draws
from classifier.core.errors import UserError
from classifier.core.wording import counted
from classifier.dataset.encoded_images import EncodedImages
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import StoredImages
from classifier.models.classifier import Classifier
from classifier.models.device import choose_device
from classifier.models.forward import predict_logits, standardize, to_unit
from classifier.models.registry import ModelParams, build
from classifier.models.summary import summary
from classifier.training import transfer
from classifier.training.batches import Batch, Batches
from classifier.training.distributed import Ranks
from classifier.training.imbalance import class_weights, epoch_order, image_losses
from classifier.training.numerics import choose_numerics, make_deterministic, settle
from classifier.training.optimization.ema import averaged
from classifier.training.optimization.optimizers import build_optimizer, lr_factors
from classifier.training.params import TrainParams
from classifier.training.progressive_resizing import Growth, shrunk
from classifier.training.record import Record, Trained
from classifier.training.seeding import derive, generator


def is_portable(params: TrainParams, model: ModelParams, data: PreparedData) -> bool:
    """Whether a run's numerics are portable, as `settle` says; call it before torch computes.

    Raises:
        UserError: they were asked for and cannot be had, or parameters do not fit.
    """
    spec, device = transfer.plan(model, data.meta), choose_device(params.device)
    return settle(params.numerics, spec, device, params.precision, params.compile)


class Session:
    """A network in training, its data, and what changes its weights.

    Each random draw comes from a generator that is seeded for its purpose and step, so there is no
    random state to save.

    Attributes:
        spec: of the network.
        facts: the content of models/summary.json.
        network: in training, on the device.
        average: of its weights, or None.
        scored: the network that is validated and kept: the average where there is one.
        batch_size: images that change the weights together, over all ranks.
        rows: of each batch that this rank computes with, int64 on the CPU.
        steps: of an epoch, which leaves out what does not fill its last batch.
    """

    def __init__(
        self,
        params: TrainParams,
        model: ModelParams,
        augment: AugmentParams,
        data: PreparedData,
        ranks: Ranks,
    ) -> None:
        """Build the network as ``params`` and ``model`` have it, and lay out the data.

        Raises:
            UserError: parameters do not fit the data, each other or the machine.
        """
        self.params, self.model, self.ranks = params, model, ranks
        self.device = choose_device(params.device)
        make_deterministic(self.device, params.deterministic)
        self.portable = is_portable(params, model, data)
        self.spec = transfer.plan(model, data.meta)
        self.labels, images = data.labels("train"), data.images("train")
        self.parts = ranks.size * params.accumulation_steps  # micro-batches of all ranks
        self.batch_size = min(params.batch_size, len(self.labels)) // self.parts * self.parts
        if params.batch_size % self.parts:
            raise UserError(
                f"train.batch_size: {params.batch_size} is not a multiple of the {ranks.size}"
                f" processes of this run times train.accumulation_steps ({self.parts}): change one"
                " of them."
            )
        if self.batch_size == 0:
            raise UserError(
                f"{len(self.labels)} images cannot be trained on in {self.parts} parts at a time."
            )
        self.steps = len(self.labels) // self.batch_size
        self.growth = Growth(self.spec.image_size, **asdict(params.progressive))
        self._build_network(images)

        self.crop, placement = 1.0, params.data_placement
        if isinstance(images, EncodedImages) and augment.crop < 1:
            # Cut out where they are decoded, at a higher resolution than the augmenter sees.
            if placement == "resident":
                raise UserError(
                    "train.data_placement: resident keeps one view of each image, and augment.crop"
                    " wants others of encoded ones: set it to auto, or augment.crop to 1."
                )
            self.crop, placement = augment.crop, "stream"
            augment = replace(augment, crop=1.0)
        self.batches = Batches(images, self.labels, self.device, placement)
        self.val_images = data.images("val").select(ranks.part(len(data.labels("val"))))
        self.augmenter = Augmenter(
            augment, self.spec.image_size, self.spec.channels, data.meta["mean"]
        )
        # An image is mixed with the one before it in the batch, which another rank may have.
        self.before = int(self.augmenter.mixes and ranks.size > 1)
        self.rows = ranks.rows(self.batch_size, params.accumulation_steps, self.before)
        self.class_weight = class_weights(
            params.class_weights, self.labels, self.spec.classes, params.sampler, self.device
        )
        self._prepare_updates()

    def _prepare_updates(self) -> None:
        """Lay out what changes the weights, and follows them."""
        params = self.params
        self.optimizer = build_optimizer(
            self.network,
            params.optimizer,
            lr=params.lr,
            weight_decay=params.weight_decay,
            momentum=params.momentum,
            betas=(params.beta1, params.beta2),
            lr_factors=lr_factors(self.network, params.backbone_lr_factor, params.layer_decay),
        )
        fp16 = self.numerics.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=fp16)
        self.average = averaged(self.network, params.ema_decay) if params.ema_decay else None
        self.scored = cast(Classifier, self.average.module if self.average else self.network)

    def _build_network(self, images: StoredImages) -> None:
        params, model, spec = self.params, self.model, self.spec
        torch.manual_seed(derive(params.seed, "weights"))
        network = build(spec.name, spec.args, **spec.sizes)
        together = self.batch_size // params.accumulation_steps
        self.growth.check(network, spec.name, spec.channels, together)
        transfer.load_weights(network, model, spec)
        self.facts = summary(spec.name, network, spec.channels, spec.image_size)
        self.numerics = choose_numerics(
            self.device,
            params.precision,
            params.channels_last,
            params.compile,
            self.facts["multiply_adds"],
            self.portable,
        )
        if self.numerics.threads:
            torch.set_num_threads(self.numerics.threads)
        transfer.fit_weights(network, model, spec, images)
        network.to(self.device).to(memory_format=self.numerics.layout)
        self.ranks.share_batch_statistics(network, self.device)
        self.network = network
        self.trained: list[bool] = []

    def _connect(self) -> None:
        """Prepare the forward pass in training, for the parameters that are trained now."""
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        if trained == self.trained:
            return
        self.trained = trained
        self.parallel = self.ranks.parallel(self.network)
        mode = "reduce-overhead" if self.numerics.graphs else "default"
        compiled = self.numerics.compile
        self.forward = torch.compile(self.parallel, mode=mode) if compiled else self.parallel

    def average_begins(self) -> None:
        """Let the average of the weights begin with the present ones."""
        if self.average:
            self.average.module.load_state_dict(self.network.state_dict())

    def result(
        self, network: Classifier, record: Record, val_logits: np.ndarray, val_labels: np.ndarray
    ) -> Trained:
        """What a run ends with: ``network`` has the weights of the record's best epoch."""
        return Trained(
            network.cpu(),
            self.spec,
            self.facts | {"numerics": self.numerics.kind},
            record.history,
            record.best_epoch,
            val_logits,
            np.array(val_labels),
            self.numerics,
        )

    def describe(self) -> str:
        """Where and how the network trains, in one line."""
        place = "on the device" if self.batches.resident else "streamed"
        processes = f" in {self.ranks.size} processes" if self.ranks.size > 1 else ""
        return (
            f"{self.device.type}, {self.numerics}; {self.facts['parameters']:,} parameters;"
            f" {len(self.labels):,} images {place}, {counted(self.steps, 'batch', 'batches')} of"
            f" {self.batch_size}{processes}"
        )

    def remarks(self) -> Iterator[str]:
        """What is worth saying of a run before it begins, a line each."""
        params = self.params
        if params.numerics == "auto" and self.numerics.threads and not self.portable:
            yield (
                "another kind of CPU, or number of threads, gives this run other bytes;"
                " train.numerics: portable gives the same, more slowly"
            )
        if params.class_weights == params.sampler == "balanced":
            yield (
                "warning: train.sampler balances the classes: train.class_weights changes nothing."
            )
        backbone = {
            id(weights) for part in self.network.layer_groups().values() for weights in part
        }
        rates = [
            group["initial_lr"]
            for group in self.optimizer.param_groups
            if backbone & {id(weights) for weights in group["params"]}
        ]
        if line := transfer.rate_warning(self.model, params.optimizer, max(rates, default=0)):
            yield line

    def view(self, number: int) -> Iterator[Tensor]:
        """One augmented view of every train image, in their order: standardized batches.

        Args:
            number: of the view, from 0; what is random follows from it.
        """
        count = len(self.labels)
        order = torch.arange(count)
        whole = torch.cat([order, order[: -count % self.batch_size]])  # batches are full
        start = number * (len(whole) // self.batch_size)
        crops = partial(self._crops, start) if self.crop < 1 else None
        batches = self.batches.epoch(whole, self.batch_size, 0, crops)
        for step, batch in enumerate(batches, start):
            done = (step - start) * self.batch_size
            yield self._augmented(step, batch)[0][: count - done]

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """This rank's rows of each batch from ``first_step`` on, with its step's number in the run.

        Frees what `model.freeze` no longer holds still by this epoch.
        """
        transfer.freeze(self.network, self.model, epoch)
        self.network.train()
        self._connect()
        random = generator(self.params.seed, "order", epoch)
        order = epoch_order(self.labels, self.params.sampler, len(self.spec.classes), random)
        of_batches = order[: self.steps * self.batch_size].view(self.steps, -1)
        ours = of_batches[:, self.rows].flatten()
        start = epoch * self.steps
        crops = partial(self._crops, start) if self.crop < 1 else None
        batches = self.batches.epoch(ours, len(self.rows), first_step, crops)
        return enumerate(batches, start + first_step)

    def _crops(self, start: int, step: int) -> Tensor:
        """The crops [n, 4] of this rank's images in a step of the epoch that began at ``start``."""
        random = generator(self.params.seed, "crop", start + step)
        draws = Draws(random, self.batch_size, self.rows)
        return geometric.draw_crops(self.crop, len(self.rows), draws).T

    def step(self, number: int, batch: Batch, lr_factor: float) -> Tensor:
        """Change the weights once.

        Args:
            number: of the step in the run, from 0; what is random follows from it.
            batch: this rank's rows of it.
            lr_factor: on each group's own learning rate.

        Returns:
            Float [2] on the device, of this rank's images: the sum of their losses, and how many
            answers were right.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * lr_factor
        inputs, label_weights = self._augmented(number, batch)
        count = self.params.accumulation_steps
        wholes = (inputs, label_weights, batch[1])
        parts = [[part[self.before :] for part in whole.chunk(count)] for whole in wholes]
        torch.manual_seed(derive(self.params.seed, "dropout", number, self.ranks.rank))
        self.optimizer.zero_grad()
        *others, last = zip(*parts, strict=True)
        with self.ranks.apart(self.parallel):
            found = [self._backward(*part) for part in others]
        sums = torch.stack([*found, self._backward(*last)]).sum(0)
        if self.params.gradient_clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.params.gradient_clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update_parameters(self.network)
        return sums

    def _augmented(self, number: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardized images, and int64 labels [N], or fractions of classes [N, K] where they mix.

        What is random is drawn for the whole batch, so that the images are the same for any number
        of ranks. The first ``before`` images of each micro-batch are there to be mixed with.
        """
        pixels, label_weights, rows = batch
        random = generator(self.params.seed, "augment", number)
        draws = Draws(random, self.batch_size, self.rows)
        inputs = self.augmenter(to_unit(pixels), draws, rows, number // self.steps)
        inputs = standardize(inputs, self.spec.mean, self.spec.std)
        inputs = shrunk(inputs, self.growth.size(number / (self.steps * self.params.epochs)))
        if self.augmenter.mixes:
            label_weights = F.one_hot(label_weights, len(self.spec.classes)).to(inputs.dtype)
            inputs, label_weights = self.augmenter.mix(inputs, label_weights, draws)
        return inputs, label_weights

    def _backward(self, inputs: Tensor, label_weights: Tensor, targets: Tensor) -> Tensor:
        """Add the gradients of a micro-batch; its loss and right answers as `step` sums them."""
        self.inputs = inputs.contiguous(memory_format=self.numerics.layout)
        with torch.autocast(self.device.type, self.numerics.autocast, self.numerics.mixed):
            logits = self.forward(self.inputs).float()
        losses = image_losses(logits, label_weights, self.class_weight, self.params.label_smoothing)
        # The ranks take the mean of their gradients.
        self.scaler.scale(losses.sum() / (self.batch_size / self.ranks.size)).backward()
        return torch.stack([losses.detach().sum(), (logits.argmax(1) == targets).sum()])

    def val_logits(self, autocast: torch.dtype | None = None) -> np.ndarray:
        """Of all val images, as many at a time as a training step could hold; float32 [N, K]."""
        size = self.batch_size // self.parts
        spec = self.spec
        return self.ranks.gather(
            predict_logits(
                self.scored, self.val_images, spec.mean, spec.std, self.device, size, autocast
            )
        )
