"""What the doctor finds: PyTorch's companions of another build than torch, and what to type then."""

from __future__ import annotations

from snnq.assessing.doctor import advice, companions


def test_a_companion_that_cannot_be_imported_is_told_with_its_reason(tmp_path, monkeypatch):
    for name, code in (("broken_one", "raise RuntimeError('operator broken::nms does not exist')"), ("sound_one", "")):
        (tmp_path / f"{name}.py").write_text(code)
        (tmp_path / f"{name}-1.2.dist-info").mkdir()
        (tmp_path / f"{name}-1.2.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert companions(("broken_one", "sound_one", "absent_one")) == {
        "broken_one": "1.2; it cannot be imported: RuntimeError: operator broken::nms does not exist",
        "sound_one": "1.2",
    }


def test_the_command_takes_the_build_of_torch():
    broken = "0.28.0+cu130; it cannot be imported: RuntimeError: operator torchvision::nms does not exist"
    (said,) = advice({"torch": "2.13.0+cpu", "torchvision": broken, "torchaudio": "2.11.0"})
    assert "--no-deps torchvision==0.28.0 --index-url https://download.pytorch.org/whl/cpu" in said
    (said,) = advice({"torch": "2.13.0", "torchvision": broken})
    assert said.endswith("--no-deps torchvision==0.28.0")


def test_nothing_to_say_where_all_is_well():
    assert advice({"torch": "2.13.0+cpu", "torchvision": "0.28.0", "torchaudio": "2.11.0"}) == []
    assert advice({"torch": "2.13.0"}) == []
