"""Single layers: what each costs in accuracy and time, and which stay float."""
