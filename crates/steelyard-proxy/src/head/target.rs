//! Paths and queries, as in an HTTP/1 request target and `:path`.

/// May stand in a path as itself.
const PATH: u8 = 1;
/// May stand in a query as itself.
const QUERY: u8 = 2;

/// RFC 3986 `pchar` and `/`, and beyond it what browsers send raw (WHATWG URL, the path and query percent-encode
/// sets). Never white space, control bytes, non-ASCII, `#`, `"`, `<`, `>`; in a path no `\`, which some servers
/// take for `/`.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        class[byte] = match byte as u8 {
            b'#' | b'"' | b'<' | b'>' => 0,
            b'?' | b'\\' => QUERY,
            _ => PATH | QUERY,
        };
        byte += 1;
    }
    class
};

/// Whether this may be a path: begins with `/`, has only bytes that may stand there, and every `%` begins a
/// percent-encoded byte.
pub fn path_is_valid(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path.iter().all(|&byte| CLASS[byte as usize] & PATH != 0)
        && percents_are_valid(path)
}

/// Whether this may be a query. A lone `%` is let through, as browsers send it.
pub fn query_is_valid(query: &[u8]) -> bool {
    query.iter().all(|&byte| CLASS[byte as usize] & QUERY != 0)
}

fn percents_are_valid(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .all(|at| path.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::{path_is_valid, query_is_valid};

    #[test]
    fn paths() {
        for sound in ["/", "/a/b", "/a%20b", "/a;b=c,d", "/~me/|x|/{y}/[z]", "//x", "/%2e%2E/"] {
            assert!(path_is_valid(sound.as_bytes()), "{sound}");
        }
        let unsound = [
            "", "a", "*", "/a b", "/a#b", "/a?b", "/a\\b", "/a%", "/a%2", "/a%zz", "/\u{e9}", "/\x7f", "/<a>",
        ];
        for unsound in unsound {
            assert!(!path_is_valid(unsound.as_bytes()), "{unsound:?}");
        }
    }

    #[test]
    fn queries() {
        for sound in ["", "a=b&c", "?", "a=100%", "a[]=1|2", "u=http://x/y\\z"] {
            assert!(query_is_valid(sound.as_bytes()), "{sound}");
        }
        for unsound in ["a b", "a#", "a\t", "\"", "\u{e9}", "\0"] {
            assert!(!query_is_valid(unsound.as_bytes()), "{unsound:?}");
        }
    }
}
