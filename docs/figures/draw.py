"""Draw the README's figure, who keeps and sends what at each stage, from the records of four real runs.

    make figures      runs stages 0 to 3 with --record, then python docs/figures/draw.py runs docs/figures

RECORDS/stage0.json to stage3.json -> FOLDER/stages.svg and stages.zh.svg. Everything drawn is measured; that
it equals the formulas, and that the four runs end with the same weights, is checked before a line is drawn.
"""

import json
import re
import sys
from pathlib import Path

from zero_ref.explore import palette
from zero_ref.stages import STAGES

KINDS = ("parameter", "gradient", "optimizer")  # from the bottom up
LETTERS = {"parameter": "P", "gradient": "G", "optimizer": "O"}
INITIALS = {"reduce_scatter": "RS", "all_gather": "AG"}
ROW, TOP, SIDE, HEIGHT = 104, 104, 60, 86  # y of a row to the next, of the first, a rank's box
KEPT, SENT, LONGEST = 580, 770, 150  # x of the bars, and their longest

# Colors and patterns are those of the pages.
STYLE = f"""
{palette.colors()}
{palette.strokes()}
svg {{ color-scheme: light dark }}
text {{ font-family: system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif }}
text {{ font-size: 13px; fill: var(--ink) }} .less {{ fill: var(--soft) }}
.title {{ font-size: 20px; font-weight: 650 }} .strong {{ font-weight: 650 }} .small {{ font-size: 12px }}
.box {{ fill: none; stroke: var(--line) }} .line {{ stroke: var(--line) }}
.letter {{
  font-size: 10px; font-weight: 650; text-anchor: middle;
  stroke: var(--ground); stroke-width: 4; stroke-linejoin: round; paint-order: stroke
}}
"""

WORDS = {
    "en": {
        "title": "Four ways to hold one model on {ranks} ranks: same weights to the last bit",
        "below": "{parameters:,} parameters, float32, Adam · measured; every number equals its formula",
        "kept": "kept per rank",
        "sent": "sent per rank and step",
        "stages": ("data parallel", "optimizer sharded", "gradients, too", "parameters, too"),
        "stage": "Stage {} · {}",
        "share": "{:.1f} % of stage 0",
        "bytes": "{:,} bytes",
        "parameter": "parameters",
        "gradient": "gradients",
        "optimizer": "optimizer state",
        "empty": "empty: another rank keeps it",
        "says": "At stage {} each rank keeps {:,} bytes and sends {:,} bytes in a step.",
    },
    "zh": {
        "title": "同一个模型在 {ranks} 个 rank 上的四种存法：权重逐比特相同",
        "below": "{parameters:,} 个参数，float32，Adam · 全部为实测，且与公式逐字节相等",
        "kept": "每个 rank 常驻",
        "sent": "每个 rank 每步发送",
        "stages": ("数据并行", "切分优化器状态", "再切分梯度", "再切分参数"),
        "stage": "阶段 {} · {}",
        "share": "阶段 0 的 {:.1f} %",
        "bytes": "{:,} 字节",
        "parameter": "参数",
        "gradient": "梯度",
        "optimizer": "优化器状态",
        "empty": "空白：由别的 rank 保存",
        "says": "阶段 {}：每个 rank 常驻 {:,} 字节，每步发送 {:,} 字节。",
    },
}
AT_REST = ("16Ψ", "8Ψ + 8Ψ/N", "4Ψ + 12Ψ/N", "16Ψ/N")
TRAFFIC = ("8Ψ(N−1)/N", "8Ψ(N−1)/N", "8Ψ(N−1)/N", "12Ψ(N−1)/N")  # bytes, too


def check(records: list[dict]) -> None:
    """Raises ValueError if anything that the figure says is not so."""
    if len({record["weights_sha256"] for record in records}) != 1:
        raise ValueError("the weights differ")
    for record in records:
        for rank in record["ranks"]:
            for what in ("resting_bytes", "sent_bytes_per_step"):
                for kind, formula in rank["formula"][what].items():
                    if rank[what].get(kind, 0) != formula:
                        raise ValueError(f"stage {record['stage']}, {what}: not as the formula says")


def fill(pattern: str) -> str:
    """The attribute."""
    return f'fill="url(#{pattern})"'


def bar(
    x: float, y: float, scale: float, nbytes: dict[str, int], parts: dict[str, tuple[str, str]]
) -> list[str]:
    """One bar of parts, name -> (pattern, letters), of bytes; scale: pixels a byte."""
    out = []
    for name, (pattern, letters) in parts.items():
        wide = scale * nbytes[name]
        out.append(f'<rect {fill(pattern)} x="{x:g}" y="{y}" width="{wide:g}" height="18"/>')
        if wide > 4 + 9 * len(letters):
            out.append(f'<text class="letter" x="{x + wide / 2:g}" y="{y + 13}">{letters}</text>')
        x += wide
    return out


def sent_as(stage: int) -> dict[str, tuple[str, str]]:
    """Pattern and letters of each collective: who has the whole optimizer state gathers gradients, too."""
    gathered = "gradient" if STAGES[stage].KEEPS["optimizer"] == "all" else "parameter"
    return {name: ("gradient" if name == "reduce_scatter" else gathered, INITIALS[name]) for name in INITIALS}


def row(stage: int, record: dict, records: list[dict], words: dict) -> list[str]:
    """The lines of SVG of one stage."""
    y, ranks = TOP + ROW * stage, record["ranks"]
    whole = records[0]["ranks"][0]["resting_bytes"]  # what stage 0 keeps of each kind
    total = sum(whole.values())
    name = words["stage"].format(stage, words["stages"][stage])
    out = [
        f'<line class="line" x1="24" x2="956" y1="{y + 92}" y2="{y + 92}"/>',
        f'<text class="strong" x="24" y="{y + 34}">{name}</text>',
        f'<text class="less" x="24" y="{y + 54}">{AT_REST[stage]}</text>',
    ]
    for r, rank in enumerate(ranks):
        x, bottom = 250 + 80 * r, float(y + HEIGHT)
        out.append(f'<rect class="box" x="{x}" y="{y}" width="{SIDE}" height="{HEIGHT}"/>')
        for kind in KINDS:
            high = HEIGHT * whole[kind] / total
            wide = SIDE * rank["resting_bytes"][kind] / whole[kind]
            left = x + (0 if wide == SIDE else SIDE * r / len(ranks))
            bottom -= high
            middle = f'x="{left + wide / 2:g}" y="{bottom + high / 2 + 4:g}"'
            out += [
                f'<rect {fill(kind)} x="{left:g}" y="{bottom:g}" width="{wide:g}" height="{high:g}"/>',
                f'<text class="letter" {middle}>{LETTERS[kind]}</text>',
            ]
    sent = sent_as(stage) | {"other": ("buffer", "")}
    for x, what, parts, note in (
        (KEPT, "resting_bytes", {kind: (kind, LETTERS[kind]) for kind in KINDS}, words["share"]),
        (SENT, "sent_bytes_per_step", sent, TRAFFIC[stage] + " · {:.2f}×"),
    ):
        all_of = [sum(each["ranks"][0][what].values()) for each in records]
        times = (1 if x == SENT else 100) * all_of[stage] / all_of[0]
        out += [
            f'<text class="strong" x="{x}" y="{y + 22}">{words["bytes"].format(all_of[stage])}</text>',
            *bar(x, y + 28, LONGEST / max(all_of), ranks[0][what], parts),
            f'<text class="less" x="{x}" y="{y + 64}">{note.format(times)}</text>',
        ]
    return out


def draw(records: list[dict], language: str) -> str:
    """records: of stages 0 to 3, in this order. Raises ValueError as `check` does."""
    check(records)
    words, first = WORDS[language], records[0]
    says = [
        words["says"].format(
            stage,
            sum(record["ranks"][0]["resting_bytes"].values()),
            sum(record["ranks"][0]["sent_bytes_per_step"].values()),
        )
        for stage, record in enumerate(records)
    ]
    title = words["title"].format(ranks=first["world_size"])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 560" width="980" height="560" role="img" '
        f'aria-labelledby="title says" lang="{language}">',
        f'<title id="title">{title}</title>',
        f'<desc id="says">{" ".join(says)}</desc>',
        f"<style>{STYLE}</style>",
        "<defs>",
        *re.findall(
            r'<pattern id="(?:parameter|gradient|optimizer|buffer)".*?</pattern>', palette.patterns()
        ),
        "</defs>",
        '<rect class="ground" width="980" height="560"/>',
        f'<text class="title" x="24" y="34">{title}</text>',
        f'<text class="less" x="24" y="56">{words["below"].format(parameters=first["parameters"])}</text>',
        f'<text class="less small" x="{KEPT}" y="86">{words["kept"]}</text>',
        f'<text class="less small" x="{SENT}" y="86">{words["sent"]}</text>',
    ]
    for r in range(first["world_size"]):
        out.append(f'<text class="less small" x="{280 + 80 * r}" y="86" text-anchor="middle">rank {r}</text>')
    for stage, record in enumerate(records):
        out += row(stage, record, records, words)
    for place, kind in enumerate(KINDS):
        x = 24 + 140 * place
        out += [
            f'<rect {fill(kind)} x="{x}" y="528" width="22" height="16"/>',
            f'<text class="letter" x="{x + 11}" y="540">{LETTERS[kind]}</text>',
            f'<text x="{x + 30}" y="541">{words[kind]}</text>',
        ]
    sent = " · ".join(f"{letters} {name.replace('_', '-')}" for name, letters in INITIALS.items())
    out += [f'<text class="less" x="474" y="541">{words["empty"]}</text>']
    out += [f'<text class="less" x="956" y="541" text-anchor="end">{sent}</text>', "</svg>", ""]
    return "\n".join(out)


def main(records: str, folder: str) -> None:
    """Read four records, write two figures."""
    read = [json.loads((Path(records) / f"stage{s}.json").read_text(encoding="utf-8")) for s in range(4)]
    for language, name in (("en", "stages.svg"), ("zh", "stages.zh.svg")):
        (Path(folder) / name).write_text(draw(read, language), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
