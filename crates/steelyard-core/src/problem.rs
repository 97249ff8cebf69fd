//! What is wrong with a document: where, why, and what to do about it.
//!
//! Every rule writes into one [`Report`], so that all mistakes are told at once rather than one a run.

use serde::Serialize;
use std::fmt;

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The way to it, in the words of the configuration file: listeners and pools by name, routes and the
    /// items of a list by index.
    pub path: Vec<PathItem>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PathItem {
    /// A key of a table.
    Key(String),
    /// An item of a list, from 0.
    Index(usize),
}

impl From<&str> for PathItem {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathItem {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.path.iter().enumerate() {
            match item {
                PathItem::Key(key) if position == 0 => f.write_str(key)?,
                PathItem::Key(key) => write!(f, ".{key}")?,
                PathItem::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// Why a single value was refused; who parses it does not know where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Collects problems while a document is walked; knows the way to where the walk stands.
#[derive(Debug, Default)]
pub(crate) struct Report {
    path: Vec<PathItem>,
    problems: Vec<Problem>,
}

impl Report {
    /// Runs `walk` one step further down.
    pub fn at<T>(&mut self, item: impl Into<PathItem>, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(item.into());
        let outcome = walk(self);
        self.path.pop();
        outcome
    }

    /// Adds a problem with the value the walk stands at.
    pub fn refuse(&mut self, refusal: Refusal) {
        let Refusal { message, hint } = refusal;
        self.problems.push(Problem { path: self.path.clone(), message, hint });
    }

    /// Adds a problem with what lies one step further down.
    pub fn refuse_at(&mut self, item: impl Into<PathItem>, refusal: Refusal) {
        self.at(item, |report| report.refuse(refusal));
    }

    /// The value, or a problem with what lies one step further down.
    pub fn keep<T>(&mut self, item: impl Into<PathItem>, outcome: Result<T, Refusal>) -> Option<T> {
        outcome.map_err(|refusal| self.refuse_at(item, refusal)).ok()
    }

    /// What was found, in the order of the walk.
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// `did you mean "...?"`, where one of the known words is near enough to have been meant.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let bound = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean {candidate:?}?"))
}

/// The Damerau-Levenshtein distance (optimal string alignment), with `-` and `_` alike and case ignored.
fn distance(a: &str, b: &str) -> usize {
    let fold = |word: &str| -> Vec<char> {
        word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_the_binding_promises() {
        let mut report = Report::default();
        report.at("pools", |report| {
            report.at("app", |report| {
                report.at("endpoints", |report| {
                    report
                        .at(0, |report| report.refuse_at("address", Refusal::new("no port").hint("add one")));
                });
            });
        });
        let problems = report.finish();
        assert_eq!(
            serde_json::to_string(&problems).unwrap(),
            r#"[{"path":["pools","app","endpoints",0,"address"],"message":"no port","hint":"add one"}]"#
        );
        assert_eq!(problems[0].to_string(), "pools.app.endpoints[0].address: no port\nhint: add one");
    }

    #[test]
    fn a_missing_hint_is_null() {
        let mut report = Report::default();
        report.refuse(Refusal::new("wrong"));
        assert_eq!(
            serde_json::to_string(&report.finish()).unwrap(),
            r#"[{"path":[],"message":"wrong","hint":null}]"#
        );
    }

    #[test]
    fn the_word_that_was_meant_is_suggested() {
        let known = ["round_robin", "random", "least_request"];
        assert_eq!(did_you_mean("roundrobin", known).unwrap(), r#"did you mean "round_robin"?"#);
        assert_eq!(did_you_mean("Round-Robin", known).unwrap(), r#"did you mean "round_robin"?"#);
        assert_eq!(did_you_mean("least_requset", known).unwrap(), r#"did you mean "least_request"?"#);
        assert_eq!(did_you_mean("sticky", known), None);
    }

    #[test]
    fn two_swapped_letters_are_one_step() {
        assert_eq!(distance("web", "wbe"), 1);
        assert_eq!(distance("", "web"), 3);
        assert_eq!(distance("app", "apps"), 1);
    }
}
