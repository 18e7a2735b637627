"""How a run in progress is going: a bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Callable

from torch import Tensor
from tqdm import tqdm

from classifier.core.wording import counted, duration

BAR_SECONDS = 1.0  # between two looks at the sums, each of which makes a GPU wait
LOG_SECONDS = 10.0  # between two lines in a log


class Progress:
    """Counts images and shows loss, accuracy, images per second and the time left.

    Standard error shows a bar where it is a terminal; elsewhere ``say`` gets the line of an epoch,
    at most one in `LOG_SECONDS`, and once, after as long, how long the run takes.
    """

    def __init__(
        self,
        epochs: int,
        images: int,
        done: int,
        ranks: int,
        say: Callable[[str], None] | None,
    ) -> None:
        """Begin.

        Args:
            images: in one epoch, over all ranks.
            done: images that were trained on before, when a run goes on.
            ranks: how many share each batch.
            say: None in the ranks that show nothing.
        """
        self.epochs, self.images, self.ranks, self.say = epochs, images, ranks, say
        self.began_with = self.done = done
        self.started = self.shown = self.logged = time.perf_counter()
        self.bar = tqdm(
            total=epochs * images,
            initial=done,
            desc="train",
            unit=" images",
            unit_scale=True,
            disable=None if say else True,  # None: only in a terminal
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    @property
    def rate(self) -> float:
        """Images per second since the start, validation included."""
        return (self.done - self.began_with) / self.seconds

    def step(self, images: int, sums: Tensor) -> None:
        """Count a batch; ``sums`` are this rank's loss and right answers in this epoch."""
        self.done += images
        self.bar.update(images)
        if self.say and self.bar.disable and self.logged == self.started:
            self._forecast(self.say)
        if self.bar.disable or time.perf_counter() - self.shown < BAR_SECONDS:
            return
        self.shown = time.perf_counter()
        seen = (self.done - 1) % self.images + 1
        loss, accuracy = (sums * self.ranks / seen).tolist()
        epoch = (self.done - 1) // self.images + 1
        self.bar.set_postfix_str(
            f"epoch {epoch}/{self.epochs}, loss {loss:.3f}, accuracy {accuracy:.4f}"
        )

    def _forecast(self, say: Callable[[str], None]) -> None:
        if self.seconds < LOG_SECONDS:
            return
        self.logged = time.perf_counter()
        left = (self.epochs * self.images - self.done) / self.rate
        epochs = counted(self.epochs, "epoch", "epochs")
        say(f"{self.rate:,.0f} images/s: about {duration(left)} left for {epochs}")

    def epoch(self, row: dict[str, float]) -> None:
        """Show the scores of an epoch, a row of the history."""
        text = (
            f"epoch {row['epoch']}/{self.epochs}, loss {row['train_loss']:.3f}, validation loss"
            f" {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.4f}"
        )
        self.bar.set_postfix_str(text)
        self.shown = time.perf_counter()
        if self.say and self.bar.disable and self.shown - self.logged >= LOG_SECONDS:
            self.logged = self.shown
            left = (self.epochs * self.images - self.done) / self.rate
            self.say(f"{text}; {self.rate:,.0f} images/s, {duration(left)} left")

    def end(self, best_epoch: int, waited: float) -> None:
        """Sum the run up; ``waited`` are the seconds in which it waited for its images."""
        if self.say and self.done > self.began_with:
            epochs = counted(-(-self.done // self.images), "epoch", "epochs")
            self.say(
                f"{epochs}, the best is {best_epoch}; {self.seconds:.1f} s, {self.rate:,.0f}"
                f" images/s, {waited / self.seconds:.1%} of the time waiting for data"
            )
