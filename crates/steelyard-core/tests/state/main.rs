//! The state side of the core from outside: what must hold of policies, thresholds, queue and verdicts whatever
//! comes in which order.
//!
//! Properties print the seed and the smallest case that fails, and keep it beside this file;
//! `PROPTEST_RNG_SEED` replays a whole run. Statistical tests take theirs from `STEELYARD_SEED`.

mod choices;
mod hashing;
mod idle_queue;
mod learned;
mod learning;
mod least_request;
mod prequal;
mod priorities;
mod queue;
mod random;
mod retry;
mod round_robin;
mod scored;
mod slow_start;
mod sticky;
mod subset;
mod support;
mod thresholds;
mod times;
mod verdict;
mod weighted;
