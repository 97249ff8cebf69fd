//! The normal form of a request's path, which endpoints see, and the form of that which routes are matched on.
//!
//! Dot segments are removed (RFC 3986, 5.2.4), escaped unreserved octets decoded, other escapes written in upper case
//! (6.2.2), and what no path may hold raw is escaped. Nothing else changes: empty segments stay, since to some
//! endpoints they mean something, and so do the escapes of reserved characters, for the same reason: "%3A" need not be
//! the ":" that begins a verb.
//!
//! An endpoint may just as well take the two for the same, so routes are matched on a form that does
//! ([`for_matching`]): no two spellings of a path can take different routes.

/// Why a path has no normal form. The client's fault; the answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A byte that no path may hold: a control, a space, `#`, `?` or `\`.
    #[error("the path holds a byte that it must not")]
    ForbiddenByte,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken escape")]
    BrokenEscape,
    /// `%00`.
    #[error("the path holds an escaped NUL")]
    EscapedNul,
    /// `%2F` or `%5C` where they are not allowed, or a dot segment made with them.
    #[error("the path holds an escaped slash")]
    EscapedSlash,
}

/// The normal form of `path` (without query): `path` itself where it has it already, else written to `buffer`,
/// which is cleared first.
///
/// With `allow_encoded_slash`, `%2F` and `%5C` stay as they are, unless an endpoint that decodes them would
/// see a dot segment.
pub fn normalise<'a>(
    path: &'a [u8],
    allow_encoded_slash: bool,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], PathError> {
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    // Byte by byte up to the first that may need a change; most paths have none and are done here.
    let mut previous = 0;
    for &byte in path {
        match CLASS[byte as usize] {
            Class::Plain => {}
            Class::Dot if previous != b'/' => {}
            Class::Dot | Class::Percent | Class::Raw => return rewrite(path, allow_encoded_slash, buffer),
            Class::Forbidden => return Err(PathError::ForbiddenByte),
        }
        previous = byte;
    }
    Ok(path)
}

/// The form of a normal path that routes are matched on: escapes of what may stand in a segment as itself (RFC 3986, 3.3)
/// are decoded too, but for ";", which begins a parameter. The path itself where there are none; else written to `buffer`,
/// which is cleared first.
pub fn for_matching<'a>(normal: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if !normal.contains(&b'%') {
        return normal;
    }
    buffer.clear();
    let mut rest = normal;
    while let Some((byte, after)) = split_first(rest) {
        buffer.push(byte);
        rest = after;
    }
    buffer
}

/// What is left of a normal path when so many bytes are taken off the front of its form for matching.
pub fn skip(normal: &[u8], count: usize) -> &[u8] {
    (0..count).fold(normal, |rest, _| split_first(rest).map_or(rest, |(_, after)| after))
}

/// The next byte of the form for matching, and what follows it.
fn split_first(normal: &[u8]) -> Option<(u8, &[u8])> {
    let (&byte, after) = normal.split_first()?;
    match octet(after) {
        Some(octet) if byte == b'%' && b":@!$&'()*+,=".contains(&octet) => Some((octet, &after[2..])),
        _ => Some((byte, after)),
    }
}

fn rewrite<'a>(
    path: &[u8],
    allow_encoded_slash: bool,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], PathError> {
    buffer.clear();
    buffer.reserve(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, CLASS[byte as usize]) {
            (_, Class::Forbidden) => return Err(PathError::ForbiddenByte),
            (b'/', _) => {
                if !end_segment(buffer) {
                    buffer.push(b'/');
                }
            }
            (_, Class::Percent) => {
                let octet = octet(after).ok_or(PathError::BrokenEscape)?;
                rest = &after[2..];
                push_octet(octet, allow_encoded_slash, buffer)?;
            }
            (_, Class::Raw) => push_escape(byte, buffer),
            _ => buffer.push(byte),
        }
    }
    end_segment(buffer);
    if allow_encoded_slash && has_hidden_dot_segment(buffer) {
        return Err(PathError::EscapedSlash);
    }
    Ok(buffer)
}

/// Takes a dot segment off the end, leaving the slash before it; whether there was one. The root stays.
fn end_segment(buffer: &mut Vec<u8>) -> bool {
    let Some(slash) = buffer.iter().rposition(|&byte| byte == b'/') else {
        return false;
    };
    match &buffer[slash + 1..] {
        b"." => buffer.truncate(slash + 1),
        b".." => {
            let parent = buffer[..slash].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            buffer.truncate(parent + 1);
        }
        _ => return false,
    }
    true
}

fn push_octet(octet: u8, allow_encoded_slash: bool, buffer: &mut Vec<u8>) -> Result<(), PathError> {
    match octet {
        0 => return Err(PathError::EscapedNul),
        b'/' | b'\\' if !allow_encoded_slash => return Err(PathError::EscapedSlash),
        b'-' | b'.' | b'_' | b'~' => buffer.push(octet),
        _ if octet.is_ascii_alphanumeric() => buffer.push(octet),
        _ => push_escape(octet, buffer),
    }
    Ok(())
}

fn push_escape(octet: u8, buffer: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    buffer.extend([b'%', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
}

/// The octet that the first two bytes write in hexadecimal.
fn octet(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(*digits.first()?)? << 4 | digit(*digits.get(1)?)?)
}

/// Whether decoding `%2F` and `%5C` would bring a dot segment to light.
fn has_hidden_dot_segment(normal: &[u8]) -> bool {
    let mut start = 0;
    let mut at = 0;
    while at < normal.len() {
        let width = match &normal[at..] {
            [b'/', ..] => 1,
            [b'%', b'2', b'F', ..] | [b'%', b'5', b'C', ..] => 3,
            _ => 0,
        };
        if width > 0 {
            if is_dot_segment(&normal[start..at]) {
                return true;
            }
            start = at + width;
        }
        at += width.max(1);
    }
    is_dot_segment(&normal[start..])
}

fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Dot,
    Percent,
    /// To be escaped: no path may hold it as itself, though some clients send it.
    Raw,
    Forbidden,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte <= 0x20 {
        table[byte] = Class::Forbidden;
        byte += 1;
    }
    while byte < table.len() {
        if byte >= 0x80
            || matches!(byte as u8, b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}')
        {
            table[byte] = Class::Raw;
        }
        byte += 1;
    }
    table[0x7f] = Class::Forbidden;
    table[b'#' as usize] = Class::Forbidden;
    table[b'?' as usize] = Class::Forbidden;
    table[b'\\' as usize] = Class::Forbidden;
    table[b'.' as usize] = Class::Dot;
    table[b'%' as usize] = Class::Percent;
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    fn normal(path: &str) -> Result<String, PathError> {
        normal_with(path, false)
    }

    fn normal_with(path: &str, allow_encoded_slash: bool) -> Result<String, PathError> {
        let mut buffer = b"left over".to_vec();
        normalise(path.as_bytes(), allow_encoded_slash, &mut buffer)
            .map(|normal| String::from_utf8(normal.to_vec()).unwrap())
    }

    #[test]
    fn a_normal_path_is_passed_on_where_it_lies() {
        for path in ["/", "/a/b", "/a.b/c..", "/a//b/", "/a/b;c=d", "/~x/_y-z", "/a:b@c!$&'()*+,="] {
            let mut buffer = Vec::new();
            let normal = normalise(path.as_bytes(), false, &mut buffer).unwrap();
            assert!(std::ptr::eq(normal, path.as_bytes()), "{path}");
            assert_eq!(buffer.capacity(), 0, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_removed_and_never_leave_the_root() {
        for (path, expected) in [
            ("/.", "/"),
            ("/..", "/"),
            ("/../..", "/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/./b", "/a/b"),
            ("/a/b/../../../c", "/c"),
            ("/a//../b", "/a/b"),
            ("//..//a", "//a"),
            ("/.../.a/..b/a.", "/.../.a/..b/a."),
            ("/.well-known/x", "/.well-known/x"),
            // The RFC's own example.
            ("/a/b/c/./../../g", "/a/g"),
        ] {
            assert_eq!(normal(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn unreserved_octets_are_decoded_and_other_escapes_written_in_upper_case() {
        for (path, expected) in [
            ("/%61%7E%5f%2d", "/a~_-"),
            ("/%3a%c3%a9", "/%3A%C3%A9"),
            ("/%2e%2e/a", "/a"),
            ("/x/%2E./a", "/a"),
            ("/%2e", "/"),
            ("/%2541", "/%2541"),
            ("/a%20b%3F%23", "/a%20b%3F%23"),
            ("/%40a%2b", "/%40a%2B"),
            ("/{x}|\u{e9}", "/%7Bx%7D%7C%C3%A9"),
            ("/[^`\"<>", "/%5B%5E%60%22%3C%3E"),
        ] {
            assert_eq!(normal(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_has_no_normal_form_is_refused() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/%", PathError::BrokenEscape),
            ("/%4", PathError::BrokenEscape),
            ("/%4g", PathError::BrokenEscape),
            ("/%+1", PathError::BrokenEscape),
            ("/a%00", PathError::EscapedNul),
            ("/a%2fb", PathError::EscapedSlash),
            ("/a%2Fb", PathError::EscapedSlash),
            ("/a%5cb", PathError::EscapedSlash),
            ("/a\\b", PathError::ForbiddenByte),
            ("/a b", PathError::ForbiddenByte),
            ("/a\u{7f}", PathError::ForbiddenByte),
            ("/a\0", PathError::ForbiddenByte),
            ("/a?b", PathError::ForbiddenByte),
            ("/%41\n", PathError::ForbiddenByte),
        ] {
            assert_eq!(normal(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn an_escaped_slash_stays_where_it_is_allowed_unless_it_hides_a_dot_segment() {
        assert_eq!(normal_with("/a%2fb%5c", true).unwrap(), "/a%2Fb%5C");
        assert_eq!(normal_with("/a%00", true), Err(PathError::EscapedNul));
        for path in ["/a/..%2fb", "/a%2f../b", "/a%2f..", "/a%5c.%2fb", "/%2f%2e%2e"] {
            assert_eq!(normal_with(path, true), Err(PathError::EscapedSlash), "{path}");
        }
    }

    fn matched(path: &str) -> Result<String, PathError> {
        let (mut normal, mut decoded) = (Vec::new(), b"left over".to_vec());
        let normal = normalise(path.as_bytes(), false, &mut normal)?;
        Ok(String::from_utf8(for_matching(normal, &mut decoded).to_vec()).unwrap())
    }

    #[test]
    fn routes_are_matched_on_one_form_of_all_that_may_mean_the_same() {
        for (path, expected) in [
            ("/%40internal/", "/@internal/"),
            ("/%3A%21%24%26%27%28%29%2a%2B%2C%3D", "/:!$&'()*+,="),
            ("/{x}/", "/%7Bx%7D/"),
            ("/%7bx%7d/", "/%7Bx%7D/"),
            ("/a;b%3Bc", "/a;b%3Bc"),
            ("/%2540", "/%2540"),
            ("/%25%340", "/%2540"),
        ] {
            assert_eq!(matched(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_was_matched_is_taken_off_as_it_was_spelt() {
        for (path, count, rest) in
            [("/a/b", 2, "/b"), ("/%40/%3A", 2, "/%3A"), ("/%20/", 4, "/"), ("/a", 9, "")]
        {
            assert_eq!(skip(path.as_bytes(), count), rest.as_bytes(), "{path}");
        }
    }

    /// Paths rich in what matters here.
    fn paths() -> impl Strategy<Value = String> {
        const PIECES: [&str; 22] = [
            "/", ".", "..", "a", "%2e", "%2E", "%2f", "%5C", "%41", "%3a", "%25", "%", "%00", "b.", ":", "@",
            "%40", "{", "%7b", "\u{e9}", "%3B", ";",
        ];
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12)
            .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(path in paths(), slash: bool) {
            if let Ok(once) = normal_with(&path, slash) {
                prop_assert_eq!(normal_with(&once, slash), Ok(once));
            }
        }

        #[test]
        fn the_normal_form_is_absolute_and_has_no_dot_segment(path in paths(), slash: bool) {
            if let Ok(once) = normal_with(&path, slash) {
                prop_assert!(once.starts_with('/'));
                let decoded = once.replace("%2F", "/").replace("%5C", "/");
                prop_assert!(!decoded.split('/').any(|segment| segment == "." || segment == ".."), "{}", once);
            }
        }

        #[test]
        fn two_spellings_of_a_path_take_one_route(
            path in "/[a-c./:@!$&'()*+,=\\[\\]^`{|}\"<>\u{e9}~-]{0,12}",
            which: u16,
        ) {
            let spelt = |escaped: u16| {
                let mut spelt = String::new();
                for (place, byte) in path.bytes().enumerate() {
                    match byte {
                        b'/' => spelt.push('/'),
                        // A character of two bytes is escaped as a whole.
                        _ if !byte.is_ascii() || escaped >> (place % 16) & 1 == 1 => {
                            write!(spelt, "%{byte:02x}").unwrap();
                        }
                        _ => spelt.push(char::from(byte)),
                    }
                }
                spelt
            };
            prop_assert_eq!(matched(&spelt(which)), matched(&path));
            prop_assert_eq!(matched(&spelt(u16::MAX)), matched(&path));
        }

        #[test]
        fn what_is_left_after_a_match_is_the_rest_of_it(path in paths(), count in 0usize..12) {
            if let (Ok(normal), Ok(whole)) = (normal(&path), matched(&path)) {
                let mut decoded = Vec::new();
                let rest = for_matching(skip(normal.as_bytes(), count), &mut decoded).to_vec();
                prop_assert_eq!(rest, whole.as_bytes().get(count..).unwrap_or_default());
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(path: Vec<u8>, slash: bool) {
            let _ = normalise(&path, slash, &mut Vec::new());
        }
    }
}
