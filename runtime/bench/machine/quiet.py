"""The limits of a quiet machine, which the warnings of a benchmark and the decision of a report share."""

# A hypervisor takes a core away for milliseconds at a time, longer than most calls: each such call is an outlier, and
# where that is more than one call in a hundred, it is the p99 that is reported.
STEAL_SHARE = 0.01
# Services of a machine at rest take well below 1 %. Others' 5 % lengthen calls that use all cores by about 5 %, the
# least regression that a gate is commonly asked to find.
BUSY_SHARE = 0.05
# Where the share of others is unknown: a quarter of the cores was wanted just before.
LOAD_PER_CORE = 0.25
# One subject's median of some dozen calls repeats within 1 to 2 % on a quiet machine at a fixed clock. More than 5 %
# for every subject is the machine, and as much as the differences that are looked for.
DRIFT = 1.05
