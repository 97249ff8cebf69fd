//! The engine's own check of a document, without an engine.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use steelyard_core::snapshot;

/// The problems of a document, as JSON: a list of `{"path", "message", "hint"}`, empty when it is sound.
#[pyfunction]
pub fn check(document: &str) -> PyResult<String> {
    serde_json::to_string(&snapshot::check(document))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}
