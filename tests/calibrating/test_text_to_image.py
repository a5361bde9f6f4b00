"""Text-to-image pipelines: which are opened, and, where diffusers is installed, a tiny random one from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoints import save_tiny

import snnq
from snnq.base.errors import DataError, OutputExistsError, UsageError
from snnq.calibrating import text_to_image

NAMES = ("ant", "bee", "cat")


def write_pipeline(folder):
    """Write a random Stable Diffusion pipeline of some thousand weights, its tokenizer of single bytes."""
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    folder.mkdir()
    letters = [chr(one) for one in range(33, 127)]
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=64)
    last = len(tokenizer) - 1
    text = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, bos_token_id=last - 1, eos_token_id=last, pad_token_id=last,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=16,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=transformers.CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def rows_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


@pytest.mark.filterwarnings("default")
def test_a_tiny_pipeline_from_prompts_to_a_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny, pipeline = save_tiny(tmp_path), write_pipeline(tmp_path / "pipeline")
    (tmp_path / "prompts.txt").write_text("a {class}\nsome {class} here\n")
    words = {"generator": f"diffusers:{pipeline}", "classes": NAMES, "denoising": 2, "progress": snnq.silent}
    for out in ("a", "b"):
        snnq.calibrate(tiny, **words, prompts=tmp_path / "prompts.txt", samples=10, out=tmp_path / out)
    first, again = ((tmp_path / out / "frames.npy").read_bytes() for out in ("a", "b"))
    assert first == again
    (tmp_path / "others.txt").write_text("the {class}\n")
    with pytest.raises(OutputExistsError):
        snnq.calibrate(tiny, **words, prompts=tmp_path / "others.txt", samples=10, out=tmp_path / "a")
    rows = rows_of(tmp_path / "a")
    assert {row["prompt"] for row in rows} <= {
        f"{a}{name}{b}" for name in NAMES for a, b in (("a ", ""), ("some ", " here"))
    }
    assert len({row["seed"] for row in rows}) == 10
    assert len({row["sha256"] for row in rows}) == 10

    draw = np.random.default_rng(0)
    for name in NAMES:
        for split in ("train", "test"):
            for number in range(2):
                file = tmp_path / "real" / split / name / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 255, (20, 20, 3), np.uint8)).save(file)
    few = {"few_shot": f"images:{tmp_path / 'real'},resize=16x16", "rounds": 5}
    done = snnq.calibrate(tiny, **words, **few, samples=8, out=tmp_path / "few")
    said = done.found.facts["few_shot"]
    assert (said["steps"], said["shots"]) == (5, 1)
    assert all(row["prompt"].endswith(f"in the style of {said['word']}") for row in rows_of(tmp_path / "few"))
    with pytest.raises(UsageError, match="learns from pictures, and these are events"):
        snnq.calibrate(tiny, **words, few_shot="random,classes=3,samples=8", samples=8, out=tmp_path / "no")


def test_a_word_is_all_that_textual_inversion_changes(tmp_path):
    import torch

    folder = write_pipeline(tmp_path / "pipeline")
    pipeline, facts = text_to_image._open(str(folder), torch.device("cpu"))
    assert facts["pipeline"] == "StableDiffusionPipeline"
    from snnq.calibrating.steering_text import WORD, learn_word

    parts = {name: getattr(pipeline, name) for name in ("unet", "vae", "text_encoder")}
    before = {f"{a}.{b}": one.clone() for a, part in parts.items() for b, one in part.state_dict().items()}
    losses = learn_word(pipeline, torch.rand(2, 3, 16, 16) * 2 - 1, ["ant", "bee"], 4, 0, snnq.silent)
    assert len(losses) == 4
    changed = []
    for a, part in parts.items():
        for b, one in part.state_dict().items():
            old = before[f"{a}.{b}"]
            if not torch.equal(one[: len(old)] if one.ndim else one, old):
                changed.append(f"{a}.{b}")
    assert changed == []
    weight = pipeline.text_encoder.get_input_embeddings().weight
    number = pipeline.tokenizer.convert_tokens_to_ids(WORD)
    assert number == len(weight) - 1
    assert not torch.allclose(weight[number], weight[:number].mean(0))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (None, "no model_index.json"),
        ({"unet": ["diffusers", "UNet2DConditionModel"]}, "no model_index.json"),
        ({"_class_name": ["pipeline", "Mine"], "unet": ["diffusers", "UNet2DConditionModel"]}, "code of its own"),
        ({"_class_name": "StableDiffusionPipeline", "unet": ["my_unet", "Mine"]}, "unet is code of its own"),
    ],
)
def test_a_pipeline_of_strange_parts_is_not_opened(tmp_path, index, said):
    if index is not None:
        (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=said):
        text_to_image.check_parts(tmp_path)


def test_prompts_and_squares(tmp_path):
    (tmp_path / "good.txt").write_text("a {class}\n\nthe {class}\n")
    assert text_to_image.read_templates(tmp_path / "good.txt") == ("a {class}", "the {class}")
    (tmp_path / "bad.txt").write_text("a {class}\na dog\n")
    with pytest.raises(UsageError, match=r"every line needs \{class\}, found 'a dog'"):
        text_to_image.read_templates(tmp_path / "bad.txt")
    wide = np.arange(12.0).reshape(1, 2, 6) / 12
    assert np.array_equal(text_to_image.square(wide), wide[:, :, 2:4])
