"""Textual inversion: one new word that stands for the style of a few real pictures, learned by the diffusion loss.

    minimise over the word's embedding:  ‖ε − ε_θ(√ᾱ_t z + √(1 − ᾱ_t) ε, t, "a photo of a CLASS in the style of WORD")‖²

All classes share the word; the pipeline's weights stay as they are (Gal et al. 2022, arXiv:2208.01618; StableQ §3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnq.base.errors import NotFiniteError, UsageError
from snnq.base.progress import Progress
from snnq.training.seeding import generator

WORD = "<few-shot-style>"
STYLED = f" in the style of {WORD}"
_PROMPT = "a photo of a {}" + STYLED
_PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
_RATE = 5e-3


def learn_word(
    pipeline: Any, pictures: Tensor, names: Sequence[str], steps: int, seed: int, progress: Progress
) -> list[float]:
    """Teach a pipeline ``WORD`` from pictures (n, 3, h, w) from −1 to 1 and their class names; return the losses.

    Raises UsageError for a pipeline of other parts than Stable Diffusion's, NotFiniteError.
    """
    missing = [part for part in _PARTS if getattr(pipeline, part, None) is None]
    if missing:
        raise UsageError(f"--few-shot: the pipeline has no {missing[0]}: only Stable Diffusion's kind learns a word")
    number, weight = _new_word(pipeline)
    device, losses = weight.device, []
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    weight.requires_grad_()
    mask = torch.zeros(len(weight), 1, device=device)
    mask[number] = 1
    hook = weight.register_hook(lambda gradient: gradient * mask)
    optimizer = torch.optim.Adam([weight], lr=_RATE)
    try:
        for step in range(steps):
            loss = _loss(pipeline, pictures.to(device), names, generator(seed, "word", step))
            if not bool(torch.isfinite(loss)):
                raise NotFiniteError(f"--few-shot: the diffusion loss is not finite in step {step + 1}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            progress("learning a word", step + 1, steps, loss=losses[-1])
    finally:
        hook.remove()
        weight.requires_grad_(False)
    return losses


def _new_word(pipeline: Any) -> tuple[int, Tensor]:
    """Add the word to tokenizer and text encoder, its embedding the mean of all others; return its number and all."""
    if pipeline.tokenizer.add_tokens(WORD) != 1:
        raise UsageError(f"--few-shot: the pipeline's tokenizer already knows {WORD}")
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    weight = pipeline.text_encoder.get_input_embeddings().weight
    number = pipeline.tokenizer.convert_tokens_to_ids(WORD)
    with torch.no_grad():
        weight[number] = weight[:number].mean(0)
    return number, weight


def _loss(pipeline: Any, pictures: Tensor, names: Sequence[str], draw: torch.Generator) -> Tensor:
    """Return the diffusion loss of one picture at one time, both drawn."""
    at = int(torch.randint(len(pictures), (1,), generator=draw))
    ids = pipeline.tokenizer(
        _PROMPT.format(names[at]),
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids.to(pictures.device)
    with torch.no_grad():
        latent = pipeline.vae.encode(pictures[at : at + 1]).latent_dist.mean * pipeline.vae.config.scaling_factor
    noise = torch.randn(latent.shape, generator=draw).to(latent)
    time = torch.randint(pipeline.scheduler.config.num_train_timesteps, (1,), generator=draw).to(latent.device)
    noisy = pipeline.scheduler.add_noise(latent, noise, time)
    found = pipeline.unet(noisy, time, pipeline.text_encoder(ids)[0]).sample
    velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
    due = pipeline.scheduler.get_velocity(latent, noise, time) if velocity else noise
    return F.mse_loss(found.float(), due.float())
