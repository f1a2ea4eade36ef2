#!/usr/bin/env bash
# statsmodels 0.15.0: McNemar's test of two models that never differ has p = 0, the surest difference there is.
#
# Expected: p = 1, as the exact test gives, or NaN. Seen: with exact=False, the chi-square form for many images, the
# correction for continuity, on by default, makes 1 / 0 of two models with the same right and wrong answers: the statistic is
# infinite and p is 0, with a RuntimeWarning of a division. So an export that changed no decision is called significantly
# different; with one decision changed p is 1. Without the correction p is NaN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet statsmodels==0.15.0 numpy scipy==1.17.1
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import math
import sys
from importlib.metadata import version

from statsmodels.stats.contingency_tables import mcnemar

print("statsmodels", version("statsmodels"))
seen = {}
# Both right, only the first right, only the second right, both wrong.
for name, table in {"equal": [[790, 0], [0, 210]], "one differs": [[789, 1], [0, 210]]}.items():
    for form in ({"exact": True}, {"exact": False}, {"exact": False, "correction": False}):
        result = mcnemar(table, **form)
        seen[name, *form.values()] = (result.statistic, result.pvalue)
        print(f"{name}, {form}: statistic {result.statistic:.4g}, p {result.pvalue:.4g}")
same = seen["equal", True][1] == 1 and seen["equal", False] == (math.inf, 0)
same &= math.isnan(seen["equal", False, False][1]) and seen["one differs", False] == (0, 1)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
