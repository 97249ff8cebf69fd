//! `--flag VALUE` pairs, the least that the tools need.

use std::collections::HashMap;
use std::io;
use std::str::FromStr;

/// The flags of one command line.
pub struct Arguments {
    values: HashMap<String, Vec<String>>,
}

impl Arguments {
    /// Reads pairs; a flag may come more than once.
    pub fn read(arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        let mut rest = arguments;
        while let Some(flag) = rest.next() {
            let name = flag.strip_prefix("--").ok_or_else(|| wrong(&format!("unexpected {flag:?}")))?;
            let value = rest.next().ok_or_else(|| wrong(&format!("{flag} needs a value")))?;
            values.entry(name.to_owned()).or_default().push(value);
        }
        Ok(Self { values })
    }

    /// Every value of a flag, in order.
    pub fn all<T: FromStr>(&self, name: &str) -> io::Result<Vec<T>> {
        let values = self.values.get(name).map(Vec::as_slice).unwrap_or_default();
        let parse =
            |text: &String| text.parse().map_err(|_| wrong(&format!("--{name} {text:?} does not fit")));
        values.iter().map(parse).collect()
    }

    /// The last value of a flag.
    pub fn get<T: FromStr>(&self, name: &str) -> io::Result<Option<T>> {
        Ok(self.all(name)?.pop())
    }

    /// The last value of a flag that must be there.
    pub fn need<T: FromStr>(&self, name: &str) -> io::Result<T> {
        self.get(name)?.ok_or_else(|| wrong(&format!("--{name} is needed")))
    }
}

fn wrong(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
