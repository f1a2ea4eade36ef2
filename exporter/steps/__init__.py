"""Parts of the pipeline that are more than a pass over a graph: the subject, INT8, the plan."""
