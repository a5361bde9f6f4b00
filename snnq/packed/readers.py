"""Lines that read a packed folder with numpy and safetensors alone: of model cards and docs, run by the tests."""

from __future__ import annotations

FIXED_READER = """\
import json, math
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file

folder, weights = Path("packed"), {}
tensors = load_file(folder / "model.safetensors")


def unpacked(words, bits, count):  # 32 // bits codes in each word, the first in the lowest bits
    codes = (words.astype(np.int64)[:, :, None] >> bits * np.arange(32 // bits)) % 2**bits
    return codes.reshape(len(words), -1)[:, :count]


for name, layer in json.loads((folder / "config.json").read_text())["quantization_config"]["layers"].items():
    family, bits, part = layer["family"], layer["bits"], lambda key: tensors[f"{name}.weight{key}"]
    out, n, sparse = layer["shape"][0], math.prod(layer["shape"][1:]), f"{name}.weight_mask" in tensors
    if family not in ("float32", "uniform", "power-of-two", "ternary", "binary"):
        raise ValueError(f"{name}: this does not read {family}")
    if sparse:  # codes of the weights that are not zero alone, and a bit for every weight
        mask = unpacked(part("_mask"), 1, n) > 0
        width = 2 if family == "ternary" else bits
        zero = {"uniform": lambda: part("_zero_point_halves") // 2, "ternary": lambda: 1}.get(family, lambda: 0)()
        codes = np.zeros((out, n), np.int64) + zero
        codes[mask] = unpacked(part("_codes"), width, mask.sum())[0]
    elif family == "ternary":  # five in a byte, times 1, 3, 9, 27 and 81
        trits = (part("_trits").astype(np.int64)[:, :, None] + 121) // 3 ** np.arange(5) % 3
        codes = trits.reshape(out, -1)[:, :n]
    elif family != "float32":
        key = {"uniform": "_packed", "power-of-two": "_pot_packed", "binary": "_signs"}[family]
        codes = unpacked(part(key), bits, n)
    if family == "float32":
        weight = part("")
    elif family == "uniform":  # scale * (code - zero point)
        weight = part("_scale") * (codes - part("_zero_point_halves") / 2)
    elif family == "ternary":  # scale * -1, 0 or 1
        weight = part("_scale") * (codes - 1)
    elif family == "binary":  # scale, or minus it
        weight = part("_scale") * (2 * codes - 1) + 0.0
    else:  # sign * 2^(e + k - K), and 0 for k = 0
        sign, k, top = codes >> bits - 1, codes % 2 ** (bits - 1), 2 ** (bits - 1) - 1
        weight = np.where(k > 0, (1 - 2 * sign) * np.ldexp(1.0, part("_scale_exp") + k - top), 0)
    weights[name] = weight.astype(np.float32).reshape(layer["shape"])
"""

CODED_READER = """\
import json, math
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file

folder, weights, at, used = Path("packed"), {}, 0, 0
stream = load_file(folder / "model.safetensors")["coded"].tobytes()
lanes, size = int.from_bytes(stream[:2], "little"), int.from_bytes(stream[2:6], "little")
fields = np.frombuffer(stream[6 : 6 + size] + bytes(8), np.uint8)
x = np.frombuffer(stream, "<u4", lanes, 6 + size).astype(np.int64)  # the lanes' states
words = np.frombuffer(stream, "<u2", -1, 6 + size + 4 * lanes)


def block(width, count=1):  # numbers of one width, one behind the other, the lowest bit first
    global at
    where, at = at + width * np.arange(count), at + width * count
    read = sum(fields[(where >> 3) + i].astype(np.uint64) << np.uint64(8 * i) for i in range(8))
    return (read >> (where & 7).astype(np.uint64) & np.uint64(2**width - 1)).astype(np.int64)


def gamma():  # Elias' code of a positive number
    zeros = 0
    while not block(1)[0]:
        zeros += 1
    return 2**zeros + int(block(zeros)[0])


def signed():
    n = gamma() - 1
    return -(n + 1) // 2 if n % 2 else n // 2


def table(size):  # frequencies that add up to 4096
    fine, raw = block(4, 2)
    f = [(gamma() - 1 << raw) + block(raw)[0] for _ in range(size - 1)]
    return np.array([*f, 2**fine - sum(f)]) << 12 - fine


def symbols(tables, which):  # asymmetric numeral systems; every symbol has one of the tables
    global used
    f, first = tables.ravel(), (np.cumsum(tables, 1) - tables).ravel()
    symbol = np.repeat(np.tile(np.arange(tables.shape[1]), len(tables)), f)
    f, rest = np.repeat(f, f), np.tile(np.arange(4096), len(tables)) - np.repeat(first, f)
    place = which * 4096
    for i in range(0, len(place), lanes):
        here = place[i : i + lanes]
        here += x[: len(here)] & 4095
        x[: len(here)] = f[here] * (x[: len(here)] >> 12) + rest[here]
        short = np.flatnonzero(x < 65536)
        x[short] = x[short] << 16 | words[used : used + len(short)]
        used += len(short)
    return symbol[place]


def whole(rows, n, coded=False):
    lowest, low, size, high = signed(), int(block(6)[0]), gamma(), np.zeros(1, np.int64)
    if size > 1:  # a symbol's table: 0 the only one, of a class of 1 rows or 2 columns, 3 of the symbol one tap before
        kind = int(block(2)[0]) if coded else 0
        which = np.zeros(n if kind == 2 else rows, np.int64)
        if kind == 3:
            taps, tables = gamma(), np.array([table(size) for _ in range(size + 1)])
            found = [np.full(rows * n // taps, size)]
            for _ in range(taps):
                found.append(symbols(tables, found[-1]))
            high = np.stack(found[1:], 1).ravel()
        else:
            count = 2 ** (1 + int(block(2)[0])) if kind else 1
            if kind:
                which = symbols(table(count)[None], which)
            tables = np.array([table(size) for _ in range(count)])
            high = symbols(tables, np.repeat(which, rows * n // len(which)))
            high = high.reshape(n, rows).T.ravel() if kind == 2 else high
    return ((high << low) + block(low, rows * n)).reshape(rows, n) + lowest


def real(rows, n):
    if block(1)[0]:
        return np.ldexp(1.0, signed()) * whole(rows, n)
    zeros = int(block(5)[0])
    bits = whole(rows, n) << zeros  # exponent, sign, mantissa
    return ((bits >> 23 & 1) << 31 | bits >> 24 << 23 | bits & 2**23 - 1).astype(np.uint32).view(np.float32)


for name, layer in sorted(json.loads((folder / "config.json").read_text())["quantization_config"]["layers"].items()):
    family, bits, out, n = layer["family"], layer["bits"], layer["shape"][0], math.prod(layer["shape"][1:])
    if family not in ("float32", "uniform", "power-of-two", "ternary", "binary"):
        raise ValueError(f"{name}: this does not read {family}")
    if family == "float32":
        weight = real(out, n)
    else:
        codes = whole(out, n, True)
        if family == "uniform":  # scale * (code - zero point)
            weight = real(out, 1) * (codes - real(out, 1))
        elif family in ("ternary", "binary"):  # scale * -1, 0 or 1, or scale * -1 or 1
            weight = real(out, 1) * (codes - 1 if family == "ternary" else 2 * codes - 1) + 0.0
        else:  # sign * 2^(e + k - K), and 0 for k = 0
            sign, k, top = codes >> bits - 1, codes % 2 ** (bits - 1), 2 ** (bits - 1) - 1
            weight = np.where(k > 0, (1 - 2 * sign) * np.ldexp(1.0, real(out, 1).astype(int) + k - top), 0)
    weights[name] = weight.astype(np.float32).reshape(layer["shape"])
"""

NUMPY_READERS = {"fixed": FIXED_READER, "coded": CODED_READER}
