//! The engine's own check of a document, without an engine.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use steelyard_core::snapshot;
use steelyard_proxy::head::FieldKind;
use steelyard_proxy::tls;

/// The problems of a document, as JSON: a list of `{"path", "message", "hint"}`, empty when it is sound.
#[pyfunction]
pub fn check(document: &str) -> PyResult<String> {
    serde_json::to_string(&snapshot::check(document))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

/// What is wrong with the files that a sound document names, and what somebody should know of them, as JSON: an object of
/// two lists, `problems` and `warnings`, each as `check` returns them.
#[pyfunction]
pub fn check_files(py: Python<'_>, document: &str) -> PyResult<String> {
    let found = py.detach(|| tls::check(document));
    let found = serde_json::json!({"problems": found.problems, "warnings": found.warnings});
    serde_json::to_string(&found).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Whether requests lose a field of this name, because software that takes `_` for `-` would read a special one.
#[pyfunction]
pub fn is_lookalike(name: &str) -> bool {
    FieldKind::of(name.as_bytes()) == FieldKind::Lookalike
}
