"""The training loop, once: `fit`, `train_one_epoch`, `predict`. What differs between runs is handed in as data and objects."""

import logging
import math
import time

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from common.errors import UserError
from utils import distributed
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.depthwise import fast_weight_gradients
from utils.metrics import accuracy
from utils.optimizers import set_lr
from utils.runlog import MetricsLog

log = logging.getLogger("run")


def train_one_epoch(model, batches, optimizer, lr_at, precision, loss_at, *, epoch, ema=None, teachers=None):
    """One pass over `batches.epoch(epoch)`; returns {'loss', 'lr', 'seconds', 'images_per_s', 'wait_share'}.

    lr_at, loss_at: the rate and the loss (a function of logits and targets) of each step, counted from 0 over the whole run.
    ema: a `utils.ema.MovingAverage` of the model, updated after every step. teachers: a `utils.distillation.OnlineTeachers`. The
    loss is the mean over all images of all processes. It is summed on the device and read once, at the end, so the loop never
    waits for it. Raises UserError when it is not finite.
    """
    model.train()
    device = next(model.parameters()).device
    loss_sum, num_images = torch.zeros((), device=device), 0
    first_step, start = epoch * len(batches), time.perf_counter()
    with fast_weight_gradients(model):
        for i, (images, target_probs) in enumerate(_progress(batches.epoch(epoch), len(batches), f"epoch {epoch + 1}")):
            lr = lr_at(first_step + i)
            set_lr(optimizer, lr)
            with precision.autocast():
                logits = model(images).float()
                loss = loss_at(first_step + i)(logits, target_probs)
                if teachers:
                    loss = teachers.mix(loss, logits, images)
            optimizer.zero_grad(set_to_none=True)
            precision.step(loss, optimizer)
            if ema:
                ema.update()
            loss_sum += loss.detach() * len(images)
            num_images += len(images)
    loss_sum, num_images = distributed.sum_over_processes(
        torch.stack([loss_sum.double(), loss_sum.new_tensor(num_images).double()])
    ).tolist()
    if not math.isfinite(loss_sum):
        raise UserError(f"epoch {epoch + 1}: the loss is not finite. Lower the learning rate, or use precision='fp32'.")
    seconds = time.perf_counter() - start
    return {
        "loss": loss_sum / num_images,
        "lr": lr,
        "seconds": seconds,
        "images_per_s": num_images / seconds,
        "wait_share": batches.seconds_waited / seconds,
    }


@torch.inference_mode()
def predict(model, batches, precision=None):
    """Class probabilities float32 (N, K), in the order of `batches`, which yields images (B, 3, H, W)."""
    model.eval()
    probs = []
    for images in batches:
        if precision is None:
            logits = model(images)
        else:
            with precision.autocast():
                logits = model(images)
        probs.append(logits.float().softmax(1))
    return torch.cat(probs).cpu().numpy()


def fit(
    model, batches, optimizer, lr_at, *, epochs, precision, loss_at, seed, folder, meta,
    evaluate=None, ema=None, teachers=None, best_name="best.pth", last_name="last.pth", epoch_name=None,
):  # fmt: skip
    """Train for `epochs` epochs with a checkpoint after each; a killed run goes on after its last finished epoch.

    evaluate: model -> (probs (N, K), labels (N,)) on held-out images; the epoch with the best accuracy (the first of equals) is
    kept as folder/`best_name`. ema: a `utils.ema.MovingAverage` of the model. With it the averaged weights are what is judged and
    kept as `best_name`; their accuracy is the column `ema_accuracy`, beside the `accuracy` of the weights that train.
    epoch_name: such as 'final_{}.pth', keeps the weights that train after every epoch (counted from 1) too.
    folder/`last_name` holds everything needed to go on. Returns one dict of metrics per epoch.
    """
    model, optimizer = precision.prepare(model, optimizer)
    state = {"optimizer": optimizer, "precision": precision} | ({"ema": ema} if ema else {})
    history = _resume(folder / last_name, model, state)
    trained = _for_processes(model)
    metrics_log = MetricsLog(folder) if distributed.is_main() and evaluate else None
    for epoch in range(len(history), epochs):
        # Dropout and drop-connect draw from the global generator: seeding it here makes an epoch the same after a resume.
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch, distributed.rank()]).generate_state(1)[0]))
        metrics = train_one_epoch(trained, batches, optimizer, lr_at, precision, loss_at, epoch=epoch, ema=ema, teachers=teachers)
        row = {"epoch": epoch + 1, **metrics, **_evaluation(evaluate, model, ema)}
        history.append(row)
        if distributed.is_main():
            _save_epoch(model, state, folder, meta, history, best_name, last_name, epoch_name)
            log.info(_epoch_line(folder, row, epochs))
            if metrics_log:
                metrics_log.write(history)
        distributed.barrier()
    if metrics_log:
        metrics_log.close()
    return history


def _for_processes(model):
    if not distributed.is_distributed():
        return model
    return DistributedDataParallel(
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(model) if next(model.parameters()).is_cuda else model
    )


def _resume(path, model, state):
    """Put what was saved at `path` back into the model and the objects of `state`; returns the history ([] for a fresh start)."""
    if not path.is_file():
        return []
    saved = load_checkpoint(path, next(model.parameters()).device)
    try:
        model.load_state_dict(saved["model"])
        for name, part in state.items():
            part.load_state_dict(saved[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: of another version of this project, which cannot go on with it. Delete {path.parent}.") from error
    log.info(f"{path.parent.name}: going on after epoch {len(saved['history'])} ({path})")
    return saved["history"]


def _evaluation(evaluate, model, ema):
    """The columns `accuracy`, `eval_seconds` and, with an average, `ema_accuracy` of an epoch; none without `evaluate`."""
    if not evaluate:
        return {}
    start, columns = time.perf_counter(), {}
    for name, judged in {"accuracy": model, **({"ema_accuracy": ema.model} if ema else {})}.items():
        distributed.share_buffers(judged)
        columns[name] = accuracy(*evaluate(judged))
    return columns | {"eval_seconds": time.perf_counter() - start}


def _save_epoch(model, state, folder, meta, history, best_name, last_name, epoch_name):
    """Best and per-epoch files first, `last` at the end: a kill in between repeats the epoch and writes the same files again."""
    row, judge = history[-1], "ema_accuracy" if "ema" in state else "accuracy"
    judged = state["ema"].model if "ema" in state else model
    meta = {**meta, "epoch": row["epoch"], "accuracy": row.get("accuracy")}
    if judge in row and row[judge] > max((earlier[judge] for earlier in history[:-1]), default=-1.0):
        save_checkpoint(folder / best_name, judged.state_dict(), {**meta, "accuracy": row[judge]})
    if epoch_name:
        save_checkpoint(folder / epoch_name.format(row["epoch"]), model.state_dict(), meta)
    parts = {name: part.state_dict() for name, part in state.items()}
    save_checkpoint(folder / last_name, model.state_dict(), meta, **parts, history=history)


def _epoch_line(folder, row, epochs):
    held_out = "".join(f"  {name} {row[name]:.4f}" for name in ("accuracy", "ema_accuracy") if name in row)
    return (
        f"{folder.name}: epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}{held_out}  {row['images_per_s']:.0f} images/s  "
        f"{row['seconds']:.0f} s  waited {row['wait_share']:.1%}"
    )


def _progress(batches, total, title):
    """A bar on a terminal, nothing elsewhere (disable=None asks tqdm to look)."""
    return tqdm(batches, total=total, desc=title, leave=False, disable=None if distributed.is_main() else True)
