"""Steps that take a graph and return one: trace, fold, simplify, FP16."""
