"""Whole-proxy benchmarks: Steelyard beside nginx, HAProxy and a relay that parses nothing."""
