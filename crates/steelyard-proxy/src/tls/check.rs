//! The check of files without an engine.

use super::findings::Findings;
use super::prepare::{Files, load};
use steelyard_core::snapshot;

/// What is wrong with the files that a document in JSON names, as an engine would say. The document itself is sound.
pub fn check(document_json: &str) -> Findings {
    let mut findings = Findings::default();
    match snapshot::parse(document_json) {
        Ok(document) => drop(load(&document, None, Files::Read, &mut findings)),
        Err(problems) => findings.problems = problems,
    }
    findings
}
