//! The binding `steelyard._core`: convert, call, map errors. No logic.

mod check;
mod engine;
mod errors;
mod origin;
mod simulate;
mod toml_positions;

use pyo3::prelude::*;

/// How this extension was built, as JSON.
#[pyfunction]
fn build_info() -> String {
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "allocator": "system",
        "tls": steelyard_proxy::tls::PROVIDER,
    })
    .to_string()
}

/// The native half of Steelyard.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const POLICIES: [&str; steelyard_core::policy::NAMES.len()] = steelyard_core::policy::NAMES;

    #[pymodule_export]
    use crate::build_info;

    #[pymodule_export]
    use crate::check::{check, check_files, is_lookalike};

    #[pymodule_export]
    use crate::engine::Engine;

    #[pymodule_export]
    use crate::errors::{BindError, DocumentError, EngineFailed, EngineStopped};

    #[pymodule_export]
    use crate::origin::{Origin, origin_main};

    #[pymodule_export]
    use crate::simulate::{check_scenario, simulate};

    #[pymodule_export]
    use crate::toml_positions::{TomlError, toml_positions};

    /// Native threads end before the interpreter does.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let close = wrap_pyfunction!(crate::engine::close_engines, module)?;
        module.py().import("atexit")?.call_method1("register", (close,))?;
        Ok(())
    }
}
