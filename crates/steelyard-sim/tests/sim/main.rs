//! The simulator against queueing theory, and against the core called as the proxy calls it.

mod checks;
mod closed_forms;
mod determinism;
mod equivalence;
mod faults;
mod keys;
mod orderings;
mod subsets;
mod support;
