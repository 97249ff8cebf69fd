//! What a route changes on a request before it is forwarded.

use super::Action;
use super::field::{self, Field};
use crate::document;
use crate::problem::{Refusal, Report};

/// What changes on a request before it is forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteEdit {
    /// Bytes taken off the front of the path, as counted in its form for matching; see [`RouteEdit::path`].
    pub strip: usize,
    /// Fields that replace those of the same name. Names are in lower case and distinct; `host` may be one.
    pub set: Vec<Field>,
    /// Names of fields that are taken away, in lower case.
    pub remove: Vec<Box<[u8]>>,
}

impl RouteEdit {
    /// The path to forward, in two parts to be written one after the other: it always begins with a slash.
    ///
    /// `path` is normal, and the route was decided on its form for matching.
    pub fn path<'p>(&self, path: &'p [u8]) -> (&'static [u8], &'p [u8]) {
        let rest = crate::path::skip(path, self.strip);
        (if rest.starts_with(b"/") { b"" } else { b"/" }, rest)
    }

    pub(super) fn compile(route: &document::Route, strip: usize, report: &mut Report) -> Option<Self> {
        let set = report.at("set_headers", |report| set(route, report));
        let remove = report.at("remove_headers", |report| remove(route, report));
        Some(Self { strip, set: set?, remove: remove? })
    }
}

fn set(route: &document::Route, report: &mut Report) -> Option<Vec<Field>> {
    if !route.set_headers.is_empty() {
        only_where_forwarded(route, report)?;
    }
    let mut set: Vec<Field> = Vec::with_capacity(route.set_headers.len());
    for (name, value) in &route.set_headers {
        let field = field::editable_name(name).and_then(|field| {
            let value = if &*field == b"host" { authority(value) } else { field::value(value) };
            if set.iter().any(|(other, _)| *other == field) {
                return Err(Refusal::new(format!("{name:?} is set twice")));
            }
            Ok((field, value?))
        });
        set.extend(report.keep(name.as_str(), field));
    }
    (set.len() == route.set_headers.len()).then_some(set)
}

fn remove(route: &document::Route, report: &mut Report) -> Option<Vec<Box<[u8]>>> {
    if !route.remove_headers.is_empty() {
        only_where_forwarded(route, report)?;
    }
    let mut remove = Vec::with_capacity(route.remove_headers.len());
    for (index, name) in route.remove_headers.iter().enumerate() {
        let field = field::editable_name(name).and_then(|field| match &*field {
            b"host" => Err(Refusal::new("every request has a host").hint("use set_headers to change it")),
            _ => Ok(field),
        });
        remove.extend(report.keep(index, field));
    }
    (remove.len() == route.remove_headers.len()).then_some(remove)
}

fn only_where_forwarded(route: &document::Route, report: &mut Report) -> Option<()> {
    if Action::forwards(&route.action) {
        return Some(());
    }
    report.refuse(Refusal::new("this route forwards nothing, so there are no header fields to change"));
    None
}

/// A value of Host: a host with or without a port, and nothing that another reader could take for more.
fn authority(text: &str) -> Result<Box<[u8]>, Refusal> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if text.is_empty() || !text.bytes().all(sound) {
        return Err(Refusal::new(format!("{text:?} is no host"))
            .hint("write \"app.internal\" or \"app.internal:8080\""));
    }
    Ok(text.as_bytes().into())
}
