"""The plan past one machine, from figures that benchmarks measured."""
