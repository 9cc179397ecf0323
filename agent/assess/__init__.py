"""Assessment of a host against a CIS benchmark: evidence, effective arguments, verdicts, waivers and likely causes."""
