"""Learning the style that all glyphs share from a few real samples, by the cross-entropy method.

Rendering has no gradient, so styles are drawn, judged and drawn again near the best (Rubinstein 1999). A style is
judged by how far its glyphs are from the real samples, class by class, for the float model's norms:

    mean over classes c, norms l and channels k of (μ_real(c, l, k) − μ_glyph(c, l, k))² / v(l, k)

μ is the mean of a norm's inputs over samples, steps and positions, v its stored variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.calibrating.choosing import Judges
from snnq.calibrating.glyphs import Glyphs
from snnq.calibrating.norm_inputs import norm_inputs, norms_of, stored
from snnq.calibrating.pictures import draw
from snnq.calibrating.style import KNOBS, Style
from snnq.data.dataset import Frames

ROUNDS, DRAWN, BEST, EACH = 8, 12, 4, 2
_PLACE = 1  # of random numbers, apart from those of candidates


@dataclass(frozen=True)
class Steered:
    """The style that was learned, and how far its glyphs and those of the plain style are from the real samples."""

    style: Style
    plain: float
    learned: float

    def to_dict(self) -> Json:
        """Return it ready for JSON."""
        return {"style": self.style.to_dict(), "distance_plain": self.plain, "distance": self.learned}


@torch.no_grad()
def class_features(judges: Judges, frames: np.ndarray, labels: np.ndarray, classes: int) -> Tensor:
    """Return the mean inputs of all norms in units of their stored deviation, class by class: (classes, ΣC)."""
    norms = norms_of(judges.model, judges.path)
    with norm_inputs(norms, judges.steps) as seen:
        judges.model(torch.from_numpy(frames.astype(np.float32)).to(judges.device))
        inputs = seen.take(len(frames))
    rows = [
        one.double().transpose(0, 1).movedim(2, 1).flatten(2).mean(2) / stored(norms[name])[1].sqrt()
        for name, one in inputs.items()
    ]
    whole = torch.cat(rows, 1).cpu()
    return torch.stack([whole[torch.from_numpy(labels == label)].mean(0) for label in range(classes)])


def learn_style(judges: Judges, glyphs: Glyphs, real: Frames, progress: Progress) -> Steered:
    """Return the style whose glyphs are nearest to the real samples, or the plain one where none is nearer.

    All styles of a round are judged by glyphs with the same random numbers, and the last one beside the plain one by
    numbers that no round saw.
    """
    seed, count = glyphs.camera.seed, len(glyphs.names)
    due = class_features(judges, np.asarray(real.frames), real.labels, count)
    bounds = np.array([(least, greatest) for _, _, least, greatest in KNOBS.values()])
    mean, spread = np.array(Style().means), 2 * np.array([one for _, one, _, _ in KNOBS.values()])
    for number in range(ROUNDS):
        random = draw(seed, number, _PLACE)
        drawn = np.clip(mean + spread * random.standard_normal((DRAWN, len(mean))), bounds[:, 0], bounds[:, 1])
        far = [_distance(judges, glyphs, Style(tuple(one.tolist())), number, due) for one in drawn]
        best = drawn[np.argsort(far, kind="stable")[:BEST]]
        mean, spread = best.mean(0), 0.5 * spread + 0.5 * best.std(0)
        progress("learning the style", number + 1, ROUNDS, distance=float(min(far)))
    learned = Style(tuple(mean.tolist()))
    plain, found = (_distance(judges, glyphs, one, ROUNDS, due, 4 * EACH) for one in (Style(), learned))
    return Steered(learned if found < plain else Style(), plain, min(found, plain))


def _distance(judges: Judges, glyphs: Glyphs, style: Style, round: int, due: Tensor, each: int = EACH) -> float:
    """Return how far glyphs of a style, ``each`` a class, are from the features (classes, ΣC) that are due."""
    count, pictures = len(glyphs.names), []
    labels = np.arange(each * count) % count
    for number, label in enumerate(labels):
        random = draw(glyphs.camera.seed, number, _PLACE, round)
        pictures.append(glyphs.picture(glyphs.names[int(label)], random, style)[0])
    frames = np.stack(glyphs.camera.shoot(np.stack(pictures), list(range(len(labels)))))
    return float((class_features(judges, frames, labels, count) - due).square().mean())
