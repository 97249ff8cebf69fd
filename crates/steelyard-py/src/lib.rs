//! The binding `steelyard._core`: convert, call, map errors. No logic.

use pyo3::prelude::*;

/// The native half of Steelyard.
#[pymodule]
mod _core {
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
