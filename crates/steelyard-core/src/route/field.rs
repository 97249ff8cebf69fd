//! Names and values of header fields, as RFC 9110 allows them.

use crate::problem::Refusal;

/// The name, in lower case, and the value of one header field.
pub type Field = (Box<[u8]>, Box<[u8]>);

/// Fields of one connection (RFC 9110, 7.6.1) and of the framing of one message. A route that touched them
/// would break what the proxy itself must keep right.
const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name in lower case.
pub(super) fn name(text: &str) -> Result<Box<[u8]>, Refusal> {
    if text.is_empty() || !text.bytes().all(is_token_byte) {
        return Err(Refusal::new(format!("{text:?} is no name of a header field"))
            .hint("use letters, digits and \"-\", as in \"x-tenant\""));
    }
    Ok(text.to_ascii_lowercase().into_bytes().into())
}

/// The name in lower case, of a field that a route may change.
pub(super) fn editable_name(text: &str) -> Result<Box<[u8]>, Refusal> {
    let name = name(text)?;
    if OURS.iter().any(|ours| ours.as_bytes() == &*name) {
        return Err(Refusal::new(format!(
            "{text:?} belongs to the connection and cannot be changed by a route"
        )));
    }
    Ok(name)
}

/// The value, if it holds no control but the tab, and no white space around it.
pub(super) fn value(text: &str) -> Result<Box<[u8]>, Refusal> {
    if text.bytes().any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        return Err(Refusal::new("the value of a header field cannot hold a line break or another control"));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(Refusal::new("the value of a header field has white space around it")
            .hint(format!("write {:?}", text.trim_matches([' ', '\t']))));
    }
    Ok(text.as_bytes().into())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_and_become_lower_case() {
        assert_eq!(&*name("X-Tenant").unwrap(), b"x-tenant");
        for text in ["", "a b", "a:", "a\r", "h\u{e9}", "a/b", "(a)"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn values_hold_no_controls_and_no_white_space_around_them() {
        assert_eq!(&*value("a b\tc").unwrap(), b"a b\tc");
        assert_eq!(&*value("").unwrap(), b"");
        assert_eq!(&*value("\u{e9}").unwrap(), "\u{e9}".as_bytes());
        for text in ["a\r\nb: c", "a\nb", "a\0", "a\u{7f}", " a", "a ", "\ta"] {
            assert!(value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn fields_of_the_connection_and_the_framing_are_ours() {
        for text in ["Connection", "transfer-encoding", "Content-Length", "TE", "Upgrade", "Expect"] {
            assert!(editable_name(text).unwrap_err().message.contains("belongs to the connection"), "{text}");
            assert!(name(text).is_ok(), "{text} may be asked for");
        }
        assert!(editable_name("Host").is_ok());
    }
}
