//! Where each key of a TOML text stands, so that Python can name the line of a mistake.

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

create_exception!(
    steelyard._core,
    TomlError,
    PyValueError,
    "Text that is no TOML. `args` are the reason, the line and the column, both from 1."
);

/// One step of a path: the key of a table, or the index into an array.
#[derive(Debug, Clone, PartialEq, Eq, IntoPyObject)]
pub enum Segment {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

type Position = (Vec<Segment>, usize, usize);

/// Every key and every array item of `text`, in the order in which they stand there, as (path, line, column).
///
/// Lines and columns count from 1, columns in characters. The place of a table is that of its key in the first
/// header (or dotted key) that names it; an item of an array of tables stands at its own header.
#[pyfunction]
pub fn toml_positions(text: &str) -> PyResult<Vec<Position>> {
    let lines = Lines::new(text);
    let document = DeTable::parse(text).map_err(|error| {
        let (line, column) = lines.place(error.span().map_or(text.len(), |span| span.start));
        TomlError::new_err((one_line(error.message()), line, column))
    })?;
    let mut walk = Walk { found: Vec::new(), path: Vec::new() };
    walk.table(document.get_ref());
    walk.found.sort_by_key(|(_, offset)| *offset);
    Ok(walk
        .found
        .into_iter()
        .map(|(path, offset)| {
            let (line, column) = lines.place(offset);
            (path, line, column)
        })
        .collect())
}

/// The parser separates what it found from what it expected by a line break.
fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

/// A walk over the parsed tree. Its depth is bounded by the parser's own limit on nesting.
struct Walk {
    found: Vec<(Vec<Segment>, usize)>,
    path: Vec<Segment>,
}

impl Walk {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.step(Segment::Key(key.get_ref().to_string()), key.span().start, value);
        }
    }

    fn step(&mut self, segment: Segment, offset: usize, value: &Spanned<DeValue<'_>>) {
        self.path.push(segment);
        self.found.push((self.path.clone(), offset));
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.step(Segment::Index(index), item.span().start, item);
                }
            }
            _ => {}
        }
        self.path.pop();
    }
}

/// Turns byte offsets into lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        // `starts` begins with 0, so at least one start is at or before any offset.
        let start = self.starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}
