//! Where a redirect leads.

use crate::problem::Refusal;

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    location: Box<[u8]>,
    strip: usize,
}

impl Redirect {
    /// The value of `Location`, appended to `out`: the configured URL, and where that ends in `/`, the rest of
    /// the normalised path and the query (without `?`) after it.
    pub fn write(&self, path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.location);
        if !self.location.ends_with(b"/") {
            return;
        }
        // All leading slashes go: after a location of "/", one left over would make "//host" of the path, which
        // names another server.
        let rest = crate::path::skip(path, self.strip);
        let start = rest.iter().position(|&byte| byte != b'/').unwrap_or(rest.len());
        out.extend_from_slice(&rest[start..]);
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
    }

    pub(super) fn compile(location: &str, strip: usize) -> Result<Self, Refusal> {
        const HINT: &str = "write \"https://example.com/\", or a path, as \"/new/\"";
        if !location.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(
                Refusal::new(format!("{location:?} holds a character that no URL may hold")).hint(HINT)
            );
        }
        let host = ["https://", "http://"].iter().find_map(|scheme| location.strip_prefix(scheme));
        let sound = match host {
            Some(rest) => !rest.is_empty() && !rest.starts_with(['/', '?', '#']),
            None => location.starts_with('/') && !location.starts_with("//"),
        };
        if !sound {
            return Err(Refusal::new(format!("{location:?} is neither a URL nor a path")).hint(HINT));
        }
        Ok(Self { location: location.as_bytes().into(), strip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(location: &str, strip: usize, path: &str, query: Option<&str>) -> String {
        let mut out = Vec::new();
        let redirect = Redirect::compile(location, strip).unwrap();
        redirect.write(path.as_bytes(), query.map(str::as_bytes), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn path_and_query_are_appended_where_the_location_ends_in_a_slash() {
        assert_eq!(location("https://a/", 0, "/x/y", Some("q=1")), "https://a/x/y?q=1");
        assert_eq!(location("https://a/", 0, "/", None), "https://a/");
        assert_eq!(location("https://a/new/", 4, "/old/x", None), "https://a/new/x");
        assert_eq!(location("https://a", 0, "/x", Some("q")), "https://a");
        assert_eq!(location("/there", 0, "/x", Some("q")), "/there");
    }

    #[test]
    fn a_path_cannot_turn_the_location_into_another_server() {
        assert_eq!(location("/", 0, "//evil.example/x", None), "/evil.example/x");
        assert_eq!(location("/", 4, "/old//evil.example", None), "/evil.example");
    }

    #[test]
    fn what_is_neither_url_nor_path_is_refused() {
        for text in [
            "",
            "example.com",
            "//example.com/",
            "https://",
            "https:///x",
            "ftp://a/",
            "javascript:alert(1)",
            "/a\r\nset-cookie: x",
            "/a b",
            "/\u{e9}",
            "/\\evil",
        ] {
            assert!(Redirect::compile(text, 0).is_err(), "{text:?}");
        }
    }
}
