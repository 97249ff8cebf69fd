//! A small real origin for the demo, the benches and the tests.
