//! The binding `steelyard._core`: convert, call, map errors. No logic.

mod check;
mod origin;
mod toml_positions;

use pyo3::prelude::*;

/// The native half of Steelyard.
#[pymodule]
mod _core {
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const POLICIES: [&str; 5] = steelyard_core::policy::NAMES;

    #[pymodule_export]
    use crate::check::check;

    #[pymodule_export]
    use crate::origin::{Origin, origin_main};

    #[pymodule_export]
    use crate::toml_positions::{TomlError, toml_positions};
}
