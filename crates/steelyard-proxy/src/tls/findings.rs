//! What is found in files: problems, which keep a configuration from being in force, and warnings, which do not.

use steelyard_core::problem::{PathItem, Problem, Refusal};

/// What was found, in the order of the walk.
#[derive(Debug, Default)]
pub struct Findings {
    path: Vec<PathItem>,
    /// What has to be put right first.
    pub problems: Vec<Problem>,
    /// What somebody should know.
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// Runs `walk` one step further down.
    pub(super) fn at<T>(&mut self, item: impl Into<PathItem>, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(item.into());
        let outcome = walk(self);
        self.path.pop();
        outcome
    }

    /// Adds a problem with what lies one step further down.
    pub(super) fn refuse_at(&mut self, item: impl Into<PathItem>, refusal: Refusal) {
        let problem = self.at(item, |findings| findings.here(refusal));
        self.problems.push(problem);
    }

    /// Adds a warning about what lies one step further down.
    pub(super) fn warn_at(&mut self, item: impl Into<PathItem>, refusal: Refusal) {
        let warning = self.at(item, |findings| findings.here(refusal));
        self.warnings.push(warning);
    }

    /// The value, or a problem with what lies one step further down.
    pub(super) fn keep<T>(&mut self, item: impl Into<PathItem>, outcome: Result<T, Refusal>) -> Option<T> {
        outcome.map_err(|refusal| self.refuse_at(item, refusal)).ok()
    }

    fn here(&self, refusal: Refusal) -> Problem {
        Problem { path: self.path.clone(), message: refusal.message, hint: refusal.hint }
    }
}
