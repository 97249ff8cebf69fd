//! The engine's own check of a document, without an engine.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use steelyard_core::snapshot;
use steelyard_proxy::head::FieldKind;

/// The problems of a document, as JSON: a list of `{"path", "message", "hint"}`, empty when it is sound.
#[pyfunction]
pub fn check(document: &str) -> PyResult<String> {
    serde_json::to_string(&snapshot::check(document))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Whether requests lose a field of this name, because software that takes `_` for `-` would read a special one.
#[pyfunction]
pub fn is_lookalike(name: &str) -> bool {
    FieldKind::of(name.as_bytes()) == FieldKind::Lookalike
}
