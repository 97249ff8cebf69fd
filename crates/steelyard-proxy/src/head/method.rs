//! Request methods.

/// A request method, as far as a proxy treats methods differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// CONNECT; the HTTP/1 parser refuses it.
    Connect,
    /// Any other token; its text is in the head's `method_span`.
    Other,
}

impl Method {
    /// The method of this name. Names are case-sensitive (RFC 9110 section 9.1).
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether sending it twice intends no more than once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace | Self::Put | Self::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn names_are_case_sensitive() {
        assert_eq!(Method::of(b"GET"), Method::Get);
        assert_eq!(Method::of(b"get"), Method::Other);
    }

    #[test]
    fn only_what_may_be_repeated_is_idempotent() {
        assert!(Method::Put.is_idempotent() && Method::Head.is_idempotent());
        assert!(
            !Method::Post.is_idempotent() && !Method::Patch.is_idempotent() && !Method::Other.is_idempotent()
        );
    }
}
