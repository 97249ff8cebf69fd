//! The engine's errors as Python's exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use steelyard_proxy::engine::EngineError;
use steelyard_proxy::sockets::BindError as Refused;

create_exception!(
    steelyard._core,
    DocumentError,
    PyValueError,
    "A document the engine refuses. `args[0]` is the JSON list of problems that `check` returns."
);

create_exception!(
    steelyard._core,
    BindError,
    PyOSError,
    "An address that cannot be bound: `filename` is the listener, `filename2` the address.\n\n\
     A note says what to do, where that is known."
);

create_exception!(
    steelyard._core,
    EngineStopped,
    PyRuntimeError,
    "The engine has been stopped, or drains: it takes no more changes."
);

create_exception!(
    steelyard._core,
    EngineFailed,
    PyRuntimeError,
    "The engine has stopped for a fault of its own; its log says which."
);

/// The exception for an engine that has failed.
pub fn failed() -> PyErr {
    EngineFailed::new_err("the engine has stopped for a fault of its own; its log says which")
}

/// The exception for an error.
pub fn to_python(py: Python<'_>, error: &EngineError) -> PyErr {
    match error {
        EngineError::Document(problems) => match serde_json::to_string(problems) {
            Ok(json) => DocumentError::new_err(json),
            Err(error) => PyValueError::new_err(error.to_string()),
        },
        EngineError::Bind(refused) => {
            let Refused { listener, address, message, hint, source } = refused;
            let number = source.raw_os_error().unwrap_or_default();
            // The fourth of an OSError's arguments means something on Windows alone.
            let unused = None::<i32>;
            let refused =
                BindError::new_err((number, message.clone(), listener.clone(), unused, address.clone()));
            noted(py, refused, *hint)
        }
        EngineError::Thread(source) => PyOSError::new_err(format!("{error}: {source}")),
        EngineError::Stopped => EngineStopped::new_err(error.to_string()),
        EngineError::Forked => PyRuntimeError::new_err(error.to_string()),
    }
}

/// The exception with a note. What goes wrong on the way is the exception instead.
fn noted(py: Python<'_>, error: PyErr, note: Option<&str>) -> PyErr {
    match note.map(|note| error.value(py).call_method1("add_note", (note,))) {
        Some(Err(failure)) => failure,
        _ => error,
    }
}
