//! The engine, as Python drives it. Every call lets the interpreter run.

use crate::errors::{failed, to_python};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use steelyard_proxy::engine::{self, EngineError, Event, Options};
use steelyard_proxy::tls::Files;

/// While Python waits, its own signals are looked at this often.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// Every engine that has been started, for the end of the interpreter.
static ENGINES: Mutex<Vec<Weak<engine::Engine>>> = Mutex::new(Vec::new());

/// A running engine. Nothing that carries traffic ever waits for Python.
#[pyclass(module = "steelyard._core", frozen)]
pub struct Engine {
    engine: Arc<engine::Engine>,
}

#[pymethods]
impl Engine {
    /// Starts an engine from the JSON of its document and options. Raises `DocumentError` or `BindError` and leaves
    /// nothing behind.
    #[staticmethod]
    fn start(py: Python<'_>, document: &str, options: &str) -> PyResult<Self> {
        let options: Options =
            serde_json::from_str(options).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let engine = Arc::new(detached(py, || engine::Engine::start(document, &options))?);
        let mut engines = engines();
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(&engine));
        Ok(Self { engine })
    }

    /// Puts another document in force; `{"generation": n}`. Raises as `start`; the old one then stays. The files that the
    /// document names are read again, unless `read_files` is false: then those that have been read before are not.
    #[pyo3(signature = (document, read_files=true))]
    fn apply(&self, py: Python<'_>, document: &str, read_files: bool) -> PyResult<String> {
        let files = if read_files { Files::Read } else { Files::Keep };
        let generation = detached(py, || self.engine.apply(document, files))?;
        Ok(format!(r#"{{"generation": {generation}}}"#))
    }

    /// Shows the proofs in a JSON object to an authority that is about to issue a certificate, in place of those before.
    fn show(&self, py: Python<'_>, proofs: &str) -> PyResult<()> {
        let proofs =
            serde_json::from_str(proofs).map_err(|error| PyValueError::new_err(error.to_string()))?;
        detached(py, || self.engine.show(proofs))
    }

    /// The status as JSON.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || self.engine.status())
    }

    /// What policies in Python that are not compiled may look at, as JSON: the endpoints of each such pool by its name.
    fn facts(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || self.engine.facts())
    }

    /// Hands over what such a policy comes to: `{"pool": ..., "weights": {address: number}}`. Whether there is such a
    /// pool now.
    fn take_weights(&self, py: Python<'_>, weights: &str) -> PyResult<bool> {
        detached(py, || self.engine.take_weights(weights))
    }

    /// `"reload"`, `"stopped"`, or `None` once the time is over. Raises `EngineFailed` when it has stopped for a fault of
    /// its own.
    fn wait(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Option<&'static str>> {
        let limit = Duration::try_from_secs_f64(timeout_s.max(0.0)).unwrap_or(Duration::MAX);
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            match detached(py, || self.engine.wait(left.min(SIGNAL_INTERVAL)))? {
                Some(Event::Reload) => return Ok(Some("reload")),
                Some(end @ (Event::Stopped | Event::Failed)) => {
                    // The interpreter let this thread go on, so it is not stuck.
                    self.engine.acknowledge_end();
                    return if end == Event::Stopped { Ok(Some("stopped")) } else { Err(failed()) };
                }
                None if left <= SIGNAL_INTERVAL => return Ok(None),
                None => py.check_signals()?,
            }
        }
    }

    /// Begins to drain, or stops at once with `now`; `wait` then gives `"stopped"`.
    #[pyo3(signature = (now=false))]
    fn stop(&self, py: Python<'_>, now: bool) -> PyResult<()> {
        detached(py, || self.engine.stop(now))
    }

    /// Stops at once and joins every native thread; may be called again.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.close());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        Python::attach(|py| py.detach(|| self.engine.close()));
    }
}

/// Drains and joins every engine that nobody has closed: the interpreter is about to end.
#[pyfunction]
pub fn close_engines(py: Python<'_>) {
    py.detach(|| {
        let running: Vec<_> = engines().drain(..).filter_map(|engine| engine.upgrade()).collect();
        for engine in running {
            // An error says that this is a fork, in which nothing runs.
            if engine.stop(false).is_ok() {
                // Draining is bounded by the engine itself.
                while !matches!(engine.wait(Duration::MAX), Ok(Some(Event::Stopped | Event::Failed)) | Err(_))
                {
                }
                engine.close();
            }
        }
    });
}

fn engines() -> MutexGuard<'static, Vec<Weak<engine::Engine>>> {
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn detached<T: Send>(py: Python<'_>, call: impl FnOnce() -> Result<T, EngineError> + Send) -> PyResult<T> {
    py.detach(call).map_err(|error| to_python(py, &error))
}
