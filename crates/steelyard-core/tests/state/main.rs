//! The state side of the core from outside: what must hold of policies, thresholds, queue and verdicts whatever
//! comes in which order.
//!
//! Properties print the seed and the smallest case that fails, and keep it beside this file;
//! `PROPTEST_RNG_SEED` replays a whole run. Statistical tests take theirs from `STEELYARD_SEED`.

mod learning;
mod least_request;
mod priorities;
mod queue;
mod random;
mod retry;
mod round_robin;
mod slow_start;
mod subset;
mod support;
mod thresholds;
mod times;
mod verdict;
mod weighted;
