"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

LARGEST = "np.abs(wide).max(axis=1)"
SCALES = "    scales = np.abs(wide).max(axis=1) / np.float32(127)\n"
CODES = "np.rint(wide / steps[:, None])"
END = "    return codes.reshape(-1)[:n].astype(np.int8), scales\n"
STEPS = "np.repeat(scales, block)[: codes.size]"
BACK = "    return codes * steps\n"

WRONG = {
    "no_pair": (END, "    return codes.reshape(-1)[:n].astype(np.int8)\n"),
    "pair_exchanged": (END, "    return scales, codes.reshape(-1)[:n].astype(np.int8)\n"),
    "one_scale": (SCALES, "    scales = np.full(number, np.abs(x).max() / 127, np.float32)\n"),
    "scale_of_each": (END, "    return codes.reshape(-1)[:n].astype(np.int8), np.abs(x) / np.float32(127)\n"),
    "not_absolute": (LARGEST, "wide.max(axis=1)"),
    "range": (LARGEST, "(wide.max(axis=1) - wide.min(axis=1))", "np.float32(127)", "np.float32(255)"),
    "too_fine": ("np.float32(127)", "np.float32(128)"),
    "not_divided": (f"{LARGEST} / np.float32(127)", LARGEST),
    "inverse": (f"{LARGEST} / np.float32(127)", f"np.float32(127) / {LARGEST}"),
    "mean": (
        SCALES,
        "    scales = np.array([np.abs(x[i : i + block]).mean() for i in range(0, n, block)], np.float32) / np.float32(127)\n",
    ),
    "tail_lost": (END, "    return codes.reshape(-1)[:n].astype(np.int8), scales[: n // block]\n"),
    "rest_in_last": (
        END,
        "    if n % block and number > 1:\n        scales = np.append(scales[:-2], scales[-2:].max())\n"
        + END,
    ),
    "strided": (
        SCALES,
        "    scales = np.array([np.abs(x[i::number]).max() for i in range(number)], np.float32) / np.float32(127)\n",
    ),
    "number_for_length": (
        SCALES,
        "    scales = np.array([np.abs(p).max() for p in np.array_split(x, block)], np.float32) / np.float32(127)\n    return np.zeros(n, np.int8), scales\n",
    ),
    "even_parts": (
        SCALES,
        "    scales = np.array([np.abs(p).max() for p in np.array_split(x, number)], np.float32) / np.float32(127)\n",
    ),
    "scales_wrong": ("np.float32(127)", "np.float32(100)"),
    "truncated": (CODES, "wide / steps[:, None]"),
    "rounded_down": (CODES, "np.floor(wide / steps[:, None])"),
    "rounded_up": (CODES, "np.ceil(wide / steps[:, None])"),
    "half_up": (CODES, "wide / steps[:, None] + 0.5"),
    "not_scaled": (CODES, "np.rint(wide)"),
    "multiplied": (CODES, "np.rint(wide * steps[:, None])"),
    "sign_lost": (CODES, f"abs({CODES})"),
    "codes_padded": ("codes.reshape(-1)[:n]", "codes.reshape(-1)"),
    "rest_empty": (END, "    codes.reshape(-1)[n // block * block :] = 0\n" + END),
    "codes_tail_lost": ("codes.reshape(-1)[:n]", "codes.reshape(-1)[: n // block * block]"),
    "codes_wrong": (CODES, "np.rint(wide / steps[:, None] / 2)"),
    "zero_block": (
        "np.where(scales == 0, np.float32(1), scales)",
        "scales",
        SCALES,
        f"{SCALES}    scales = scales / (scales != 0)\n",
    ),
    "changed_input": (
        "    wide = ",
        "    x *= 1.0\n    x[-1] += 0.0\n    wide = ",
        END,
        "    x[:] = 0\n" + END,
    ),
    "scale_forgotten": (BACK, "    return codes.astype(np.float32)\n"),
    "divided": (BACK, "    return codes / steps\n"),
    "first_scale": (STEPS, "scales[0]"),
    "tiled": (STEPS, "np.resize(scales, codes.size)"),
    "even_blocks": (STEPS, "np.repeat(scales, -(-codes.size // scales.size))[: codes.size]"),
    "kept_in_codes": (BACK, "    return (codes * steps).astype(np.int8).astype(np.float32)\n"),
    "back_padded": (
        BACK,
        "    back = np.zeros(scales.size * block, np.float32)\n    back[: codes.size] = codes * steps\n    return back\n",
    ),
    "times_127": (BACK, "    return codes * steps * np.float32(127)\n"),
    "divided_by_127": (BACK, "    return codes * steps / np.float32(127)\n"),
    "back_tail_lost": (BACK, "    return (codes * steps)[: codes.size // block * block]\n"),
    "back_wrong": (BACK, "    return codes * steps + np.float32(1)\n"),
    "hides_nan": ("[:n] = x", "[:n] = np.nan_to_num(x)"),
    "spoils_others": (
        "scales = np.abs(wide).max(axis=1) / np.float32(127)",
        "scales = np.abs(wide).max(axis=1) / np.float32(127) + 0 * np.abs(x).max()",
    ),
    "returns_dtype": (".astype(np.int8)", ".astype(np.int16)"),
    "returns_nothing": (END, "    codes\n"),
    "raised": ("-(-x.size // block)", "x.size // block"),
}
