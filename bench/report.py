"""The table of a benchmark, and the file that the next run is compared with."""

import json
import os
import statistics

WIDTHS = (64, 12, 12, 9, 9, 10, 9)
HEADS = ("case", "floor", "measured", "ratio", "must", "verdict", "before")


class Report:
    def __init__(self, file):
        self.file, self.cases, self.groups = file, [], []
        self.before = {}
        if os.path.exists(file):
            with open(file) as f:
                self.before = {case["case"]: case for case in json.load(f)["cases"]}

    def group(self, title):
        print(f"\n{title}\n" + "  ".join(head.ljust(width) for head, width in zip(HEADS, WIDTHS)), flush=True)

    def add(self, case, ratio, must=None, most=True, floor="", measured="", unit="x", note=None):
        """`must` is the most that the ratio may be, or the least where `most` is false; without it the case is there to be read."""
        verdict = "" if must is None else "holds" if (ratio <= must if most else ratio >= must) else "MISSED"
        old = self.before.get(case)
        cells = (case, floor, measured, f"{ratio:.2f} {unit}", "" if must is None else f"{'<=' if most else '>='} {must:g}", verdict, f"{old['ratio']:.2f}" if old else "")
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip() + (f"\n    {note}" if note else ""), flush=True)
        self.cases.append({"case": case, "floor": floor, "measured": measured, "ratio": ratio, "unit": unit, "must": must, "verdict": verdict})

    def missing(self, case, why):
        print(f"{case}  not measured: {why}", flush=True)
        self.cases.append({"case": case, "ratio": 0, "unit": "", "must": None, "verdict": "not measured", "why": why})

    def save(self, machine, settings):
        missed = [case["case"] for case in self.cases if case["verdict"] == "MISSED"]
        print(f"\nmachine   {machine}\nsettings  {settings}\n{len(self.cases)} cases, {len(missed)} musts missed{': ' + '; '.join(missed) if missed else ''}")
        os.makedirs(os.path.dirname(self.file), exist_ok=True)
        with open(self.file, "w") as f:
            json.dump({"machine": machine, "settings": settings, "cases": self.cases}, f, indent=1)
        print(f"written to {self.file}")


def median(values):
    return statistics.median(values)


def us(seconds, records):
    return f"{seconds * 1e6 / records:.2f} us"
