"""Samples with a known answer, cut from volumes without labels: pairs, reslices, runs, reductions, registrations."""
