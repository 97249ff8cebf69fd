//! The test origin, inside this process or as a command.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use steelyard_origin::{Options, StartError};

/// An origin on native threads of its own; closed when it is collected.
#[pyclass(module = "steelyard._core", frozen)]
pub struct Origin {
    running: std::sync::Mutex<steelyard_origin::Origin>,
    #[pyo3(get)]
    port: u16,
}

#[pymethods]
impl Origin {
    /// Starts an origin from the JSON of its options.
    #[staticmethod]
    fn start(py: Python<'_>, options: &str) -> PyResult<Self> {
        let options =
            Options::from_json(options).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let running =
            py.detach(|| steelyard_origin::Origin::start(&options)).map_err(|error| to_python(&error))?;
        Ok(Self { port: running.address().port(), running: std::sync::Mutex::new(running) })
    }

    /// The counts so far, as JSON.
    fn stats(&self, py: Python<'_>) -> PyResult<String> {
        let stats = py.detach(|| self.lock().stats());
        serde_json::to_string(&stats).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Stops listening and resets every connection; idempotent.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.lock().close());
    }
}

impl Origin {
    fn lock(&self) -> std::sync::MutexGuard<'_, steelyard_origin::Origin> {
        // Nothing that holds this lock leaves the origin half-changed, so a poisoned one is as good.
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The command `steelyard-origin`: serves until SIGTERM or SIGINT and returns the exit status.
#[pyfunction]
pub fn origin_main(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(move || steelyard_origin::command::run(&arguments))
}

fn to_python(error: &StartError) -> PyErr {
    let source = match error {
        StartError::Options(_) => return PyValueError::new_err(error.to_string()),
        StartError::Bind { source, .. } | StartError::System(source) => source,
    };
    match source.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}
