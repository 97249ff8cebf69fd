//! The simulator: a document in, a report out, both JSON.

use crate::errors::DocumentError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use steelyard_core::problem::Problem;
use steelyard_sim::driver;
use steelyard_sim::plan::{self, Plan};
use steelyard_sim::scenario::parse;

/// The problems of a scenario, as JSON: a list of `{"path", "message", "hint"}`, empty when it can be run.
#[pyfunction]
pub fn check_scenario(document: &str) -> PyResult<String> {
    to_json(&plan::check(document))
}

/// Simulates a scenario on all cores and returns the report as JSON. `progress` is called with how many runs are done,
/// of how many. Raises `DocumentError` for what `check_scenario` finds, and whatever `progress` or a signal raises.
#[pyfunction]
#[pyo3(signature = (document, progress=None))]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over what may be None")]
pub fn simulate(py: Python<'_>, document: &str, progress: Option<Py<PyAny>>) -> PyResult<String> {
    let plan = parse(document).and_then(Plan::new).map_err(|problems| refused(&problems))?;
    let mut raised = None;
    let mut told = None;
    let report = py.detach(|| {
        driver::simulate(&plan, |done, total| {
            if raised.is_none() {
                let tell = told != Some(done);
                told = Some(done);
                raised = Python::attach(|py| look(py, progress.as_ref().filter(|_| tell), done, total)).err();
            }
            raised.is_none()
        })
    });
    match (raised, report) {
        (Some(error), _) => Err(error),
        (None, Some(report)) => to_json(&report),
        // Nobody else calls it off, and a thread that panics takes the call with it.
        (None, None) => Err(PyValueError::new_err("the simulation was called off")),
    }
}

fn look(py: Python<'_>, progress: Option<&Py<PyAny>>, done: usize, total: usize) -> PyResult<()> {
    py.check_signals()?;
    progress.map_or(Ok(()), |progress| progress.call1(py, (done, total)).map(drop))
}

fn refused(problems: &[Problem]) -> PyErr {
    match to_json(&problems) {
        Ok(json) => DocumentError::new_err(json),
        Err(error) => error,
    }
}

fn to_json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
