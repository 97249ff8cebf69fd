//! Programs that the whole-proxy benchmarks need: a no-parse relay and a load generator.
