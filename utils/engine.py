"""The training loop, once: `fit`, `train_one_epoch`, `predict`. What differs between runs is handed in as data and objects."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from common.errors import UserError
from common.memory import give_back_freed_memory
from utils import distributed
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.convolutions import fast_convolutions
from utils.metrics import accuracy
from utils.optimizers import set_lr
from utils.runlog import MetricsLog

log = logging.getLogger("run")


@dataclass(frozen=True)
class Checkpoints:
    """Which files `fit` keeps, and what each says of itself."""

    last: Path  # everything needed to go on
    meta: dict  # JSON types
    best: Path | None = None  # of the epoch with the best accuracy on held-out images, the first of equals
    each: Callable | None = None  # number of an epoch, from 1 -> path; the weights that train, after every epoch


def train_one_epoch(model, batches, optimizer, lr_at, precision, objective, *, epoch, ema=None):
    """One pass over `batches.epoch(epoch)`; returns {'loss', 'lr', 'grad_norm', 'seconds', 'images_per_s', 'wait_share'}.

    lr_at: the rate of each step, counted from 0 over the whole run. objective: see utils/objective.py. ema: a
    `utils.ema.MovingAverage` of the model, updated after every step. The loss is the mean over all images of all processes, the
    gradient's norm the mean over the steps of this one, before clipping. Both are summed on the device and read once, at the end,
    so the loop never waits for them. Raises UserError when the loss is not finite.
    """
    model.train()
    device = next(model.parameters()).device
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # of losses, images, norms
    first_step, start = epoch * len(batches), time.perf_counter()
    with fast_convolutions(model):
        for step, (images, target_probs) in enumerate(
            _progress(batches.epoch(epoch), len(batches), f"epoch {epoch + 1}"), first_step
        ):
            lr = lr_at(step)
            set_lr(optimizer, lr)
            with precision.autocast():
                loss = objective(model(images).float(), target_probs, images, step)
            optimizer.zero_grad(set_to_none=True)
            norm = precision.step(loss, optimizer)
            if ema:
                ema.update()
            sums += torch.stack([loss.detach() * len(images), loss.new_tensor(len(images)), norm.to(device)]).double()
    grad_norm = sums[2].item() / len(batches)
    loss_sum, num_images = distributed.sum_over_processes(sums[:2].clone()).tolist()
    if not math.isfinite(loss_sum):
        raise UserError(f"epoch {epoch + 1}: the loss is not finite. Lower the learning rate, or use precision='fp32'.")
    seconds = time.perf_counter() - start
    return {
        "loss": loss_sum / num_images,
        "lr": lr,
        "grad_norm": grad_norm,
        "seconds": seconds,
        "images_per_s": num_images / seconds,
        "wait_share": batches.seconds_waited / seconds,
    }


@torch.inference_mode()
def predict(model, batches, precision=None):
    """Class probabilities float32 (N, K), in the order of `batches`, which yields images (B, 3, H, W).

    Raises UserError where the network answers with something else than numbers.
    """
    model.eval()
    probs = []
    for images in batches:
        if precision is None:
            logits = model(images)
        else:
            with precision.autocast():
                logits = model(images)
        probs.append(logits.float().softmax(1))
    probs = torch.cat(probs).cpu().numpy()
    if not np.isfinite(probs).all():
        raise UserError("the network's answers are not numbers (NaN). Lower the learning rate, or use precision='fp32'.")
    return probs


def fit(model, batches, optimizer, lr_at, objective, *, epochs, precision, checkpoints, evaluate=None, ema=None):
    """Train for `epochs` epochs with a checkpoint after each; a killed run goes on after its last finished epoch.

    evaluate: model -> (probs (N, K), labels (N,)) on held-out images, for `checkpoints.best` and the table metrics.csv beside it.
    ema: a `utils.ema.MovingAverage` of the model. With it the averaged weights are what is judged and kept as the best; their
    accuracy is the column `ema_accuracy`, beside the `accuracy` of the weights that train.
    All randomness comes from `batches.seed` and the epoch. Returns one dict of metrics per epoch.
    """
    model, optimizer = precision.prepare(model, optimizer)
    state = {"optimizer": optimizer, "precision": precision} | ({"ema": ema} if ema else {})
    history = _resume(checkpoints, model, state)
    trained = _for_processes(model)
    title = checkpoints.last.parent.name
    metrics_log = MetricsLog(checkpoints.last.parent) if distributed.is_main() and evaluate else None
    if metrics_log and history:
        metrics_log.write_table(history)  # of a run that was killed before it could
    give_back_freed_memory()  # of what batches and targets were made with
    for epoch in range(len(history), epochs):
        # Dropout and drop-connect draw from the global generator: seeding it here makes an epoch the same after a resume.
        torch.manual_seed(int(np.random.SeedSequence([batches.seed, epoch, distributed.rank()]).generate_state(1)[0]))
        metrics = train_one_epoch(trained, batches, optimizer, lr_at, precision, objective, epoch=epoch, ema=ema)
        _check_weights(model, epoch)
        row = {"epoch": epoch + 1, **metrics, **_evaluation(evaluate, model, ema)}
        give_back_freed_memory()  # the next epoch's images may be of another size; a few tenths of a second
        history.append(row)
        if distributed.is_main():
            _save_epoch(model, state, history, checkpoints)
            log.info(_epoch_line(title, row, epochs))
            if metrics_log:
                metrics_log.write(history)
        distributed.barrier()
    if metrics_log:
        metrics_log.close()
    return history


def _check_weights(model, epoch):
    """The loss is of the weights before the last step, so it does not tell that this step spoilt them."""
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise UserError(f"epoch {epoch + 1}: the weights are not finite. Lower the learning rate, or use precision='fp32'.")


def _for_processes(model):
    if not distributed.is_distributed():
        return model
    return DistributedDataParallel(
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model) if next(model.parameters()).is_cuda else model
    )


def _resume(checkpoints, model, state):
    """Put what was saved last back into the model and the objects of `state`; returns the history ([] for a fresh start).

    Where a file that earlier epochs left is gone, perhaps since it was damaged, only a fresh start brings it back.
    """
    path = checkpoints.last
    if not path.is_file():
        return []
    saved = load_checkpoint(path, next(model.parameters()).device)
    gone = [file for file in _kept(checkpoints, saved.get("history", ())) if not file.is_file()]
    if gone:
        log.warning(f"{gone[0]}: gone, so {path.parent.name} is trained from the start again")
        return []
    try:
        model.load_state_dict(saved["model"])
        for name, part in state.items():
            part.load_state_dict(saved[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: of another version of this project, which cannot go on with it. Delete {path.parent}.") from error
    log.info(f"{path.parent.name}: going on after epoch {len(saved['history'])} ({path})")
    return saved["history"]


def _kept(checkpoints, history):
    """The files that the epochs of `history` left beside `checkpoints.last`."""
    best = [checkpoints.best] if any("accuracy" in row for row in history) else []
    return best + ([checkpoints.each(row["epoch"]) for row in history] if checkpoints.each else [])


def _evaluation(evaluate, model, ema):
    """The columns `accuracy`, `eval_seconds` and, with an average, `ema_accuracy` of an epoch; none without `evaluate`."""
    if not evaluate:
        return {}
    start, columns = time.perf_counter(), {}
    for name, judged in {"accuracy": model, **({"ema_accuracy": ema.model} if ema else {})}.items():
        distributed.share_buffers(judged)
        columns[name] = accuracy(*evaluate(judged))
    return columns | {"eval_seconds": time.perf_counter() - start}


def _save_epoch(model, state, history, checkpoints):
    """Best and per-epoch files first, `last` at the end: a kill in between repeats the epoch and writes the same files again."""
    row, judge = history[-1], "ema_accuracy" if "ema" in state else "accuracy"
    judged = state["ema"].model if "ema" in state else model
    meta = {**checkpoints.meta, "epoch": row["epoch"], "accuracy": row.get("accuracy")}
    if judge in row and row[judge] > max((earlier[judge] for earlier in history[:-1]), default=-1.0):
        save_checkpoint(checkpoints.best, judged.state_dict(), {**meta, "accuracy": row[judge]})
    if checkpoints.each:
        save_checkpoint(checkpoints.each(row["epoch"]), model.state_dict(), meta)
    parts = {name: part.state_dict() for name, part in state.items()}
    save_checkpoint(checkpoints.last, model.state_dict(), meta, **parts, history=history)


def _epoch_line(title, row, epochs):
    held_out = "".join(f"  {name} {row[name]:.4f}" for name in ("accuracy", "ema_accuracy") if name in row)
    return (
        f"{title}: epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}{held_out}  gradient {row['grad_norm']:.2f}  "
        f"{row['images_per_s']:.0f} images/s  {row['seconds']:.0f} s  waited {row['wait_share']:.1%}"
    )


def _progress(batches, total, title):
    """A bar on a terminal, nothing elsewhere (disable=None asks tqdm to look)."""
    return tqdm(batches, total=total, desc=title, leave=False, disable=None if distributed.is_main() else True)
