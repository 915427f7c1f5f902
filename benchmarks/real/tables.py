"""Rows of figures -> Markdown. Each row names the truth, the model, and the source of its subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.markdown import table

Row = dict[str, Any]
"""One model on one case, see __main__.measure."""
UNIT = "px at 256 (px of the video)"


def tables(rows: Sequence[Row], failures: Sequence[str] = ()) -> str:
    """All of it."""
    pieces = [parts_table(rows), landmarks_table(rows), subjects_table(rows), false_parts_table(rows)]
    notes = "\n".join(f"- {line}" for line in failures)
    return "\n\n".join(piece for piece in (*pieces, notes) if piece)


def head(row: Row) -> list[object]:
    return [row["case"], row.get("truth"), row["model"], f"subject: {row['subject']}"]


HEAD = ["clips", "truth", "model", "made from"]


def look_up(row: Row, path: str) -> Any:
    """A figure by its path; None if it is missing."""
    value: Any = row.get("figures")
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def figure(row: Row, *paths: str, digits: int = 2) -> str | None:
    """One figure, or several separated by slashes; None if all are missing."""
    values = [look_up(row, path) for path in paths]
    if all(value is None for value in values):
        return None
    return " / ".join("-" if value is None else f"{value:.{digits}f}" for value in values)


def parts_table(rows: Sequence[Row]) -> str:
    """Agreement of parts with the subject, and with keypoints."""
    columns: dict[str, Callable[[Row], object]] = {
        "minutes of training": lambda row: row.get("minutes"),
        "frames": lambda row: look_up(row, "frames"),
        "foreground IoU": lambda row: figure(row, "foreground.iou"),
        "keypoints inside": lambda row: figure(row, "keypoints.inside"),
        "NMI, each keypoint / 13 groups / 7": lambda row: figure(
            row, "keypoints.nmi", "keypoints.groups.nmi", "keypoints.joined.nmi"
        ),
        "the same over all": lambda row: figure(
            row, "keypoints.nmi_all", "keypoints.groups.nmi_all", "keypoints.joined.nmi_all"
        ),
        "ARI, each / 13": lambda row: figure(row, "keypoints.ari", "keypoints.groups.ari"),
        "in its own part, sides joined / apart": lambda row: figure(row, "keypoints.own.joined", "keypoints.own.apart"),
        "arms and legs only": lambda row: figure(row, "keypoints.own.limbs.joined", "keypoints.own.limbs.apart"),
        "of these the side right / a clip's exchanged": lambda row: figure(
            row, "keypoints.own.sides_right", "keypoints.own.sides_right_clipwise"
        ),
    }
    chosen = [row for row in rows if look_up(row, "foreground") or look_up(row, "keypoints")]
    chosen += davis_means(chosen)
    return _table(
        "Parts on the subject. NMI and ARI of keypoints and parts, over the keypoints inside:", chosen, columns
    )


def davis_means(rows: Sequence[Row]) -> list[Row]:
    """A row for each model evaluated on several DAVIS clips: their mean foreground IoU."""
    by_model: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["case"].startswith("davis "):
            by_model.setdefault((row["model"], row["subject"]), []).append(row)
    means = []
    for (model, subject), each in by_model.items():
        iou = sum(look_up(row, "foreground.iou") for row in each) / len(each)
        if len(each) > 1:
            about = {"case": f"davis, mean of {len(each)}", "truth": each[0]["truth"], "model": model}
            means.append({**about, "subject": subject, "figures": {"foreground": {"iou": iou}}})
    return means


def landmarks_table(rows: Sequence[Row]) -> str:
    """Errors of landmarks regressed from the parts, and from the silhouette."""

    def errors(name: str, section: str = "ridge") -> Callable[[Row], object]:
        def cell(row: Row) -> object:
            scaled, own = (look_up(row, f"{section}.{name}.mean_{unit}") for unit in ("px256", "px"))
            return None if scaled is None else f"{scaled:.1f} ({own:.1f})"

        return cell

    columns: dict[str, Callable[[Row], object]] = {
        "left out": lambda row: look_up(row, "ridge.left_out"),
        "parts' centres": errors("hard"),
        "poses": errors("affine"),
        "silhouette only, found": errors("silhouette_found"),
        "true": errors("silhouette_true"),
        "constant": errors("constant"),
        "least squares (the papers' own; overfits on few clips)": errors("hard", "landmarks"),
        "its constant": errors("constant", "landmarks"),
    }
    chosen = [row for row in rows if look_up(row, "ridge")]
    return _table(f"Landmarks by ridge regression, {UNIT}, mean absolute error a coordinate:", chosen, columns)


def subjects_table(rows: Sequence[Row]) -> str:
    """Figures of following several subjects."""
    columns: dict[str, Callable[[Row], object]] = {
        "frames": lambda row: look_up(row, "subjects.frames"),
        "subjects found": lambda row: figure(row, "subjects.found", digits=3),
        "switches": lambda row: look_up(row, "subjects.switches"),
        "per 10,000 frames": lambda row: figure(row, "subjects.switches_per_10000_frames", digits=1),
    }
    return _table("Several subjects, followed:", [row for row in rows if look_up(row, "subjects")], columns)


def false_parts_table(rows: Sequence[Row]) -> str:
    """Part pixels in images without a subject."""
    chosen = [row for row in rows if row.get("false parts")]
    if not chosen:
        return ""
    clips = list(dict.fromkeys(name for row in chosen for name in row["false parts"]))
    lines = [
        [*head(row)[2:], *(f"{100 * row['false parts'][n]:.1f}" if n in row["false parts"] else None for n in clips)]
        for row in chosen
    ]
    return f"Share of pixels labelled where there is no subject, %:\n\n{table([*HEAD[2:], *clips], lines)}"


def _table(caption: str, rows: Sequence[Row], columns: dict[str, Callable[[Row], object]]) -> str:
    """Columns that are empty in all rows are left out; "" without rows."""
    cells = {name: [cell(row) for row in rows] for name, cell in columns.items()}
    kept = {name: values for name, values in cells.items() if any(value is not None for value in values)}
    if not rows:
        return ""
    lines = [[*head(row), *(values[n] for values in kept.values())] for n, row in enumerate(rows)]
    return f"{caption}\n\n{table([*HEAD, *kept], lines)}"
