//! The pure core of Steelyard: policies, endpoint state, health verdicts, routing, snapshots.
pub mod document;
