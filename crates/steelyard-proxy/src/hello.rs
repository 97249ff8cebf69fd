//! The name that a client asks for as it begins TLS, read from its hello without taking part (RFC 8446 section 4.1.2, RFC
//! 6066 section 3).

/// The longest beginning of a connection that is looked at: no client's hello comes near it.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// What stands before every record.
const RECORD_HEAD_BYTES: usize = 5;
/// The most that one record carries in clear text (RFC 8446 section 5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
/// What stands before every message of a handshake.
const MESSAGE_HEAD_BYTES: usize = 4;
/// The longest name of a host.
const NAME_BYTES_MAX: usize = 253;

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// A hello that asks for this name, in lower case.
    Named(Box<str>),
    /// A hello that asks for none.
    Nameless,
    /// Something that is no TLS.
    Other,
}

/// What begins as a hello and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

const CUT: Malformed = Malformed("a length that does not add up");

/// Reads what a connection begins with; `None` while more must come. The hello may come in as many records as it likes.
pub fn read(bytes: &[u8]) -> Result<Option<Beginning>, Malformed> {
    match bytes.first() {
        None => return Ok(None),
        Some(&HANDSHAKE) => {}
        Some(_) => return Ok(Some(Beginning::Other)),
    }
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(hello) = whole(&message)? {
            let name = Reader(hello).hello()?;
            return Ok(Some(name.map_or(Beginning::Nameless, Beginning::Named)));
        }
        let Some((fragment, behind)) = record(rest)? else { break };
        message.extend_from_slice(fragment);
        rest = behind;
    }
    if bytes.len() >= HELLO_BYTES_MAX {
        return Err(Malformed("a hello that does not end"));
    }
    Ok(None)
}

/// A part, and what is behind it.
type Parted<'a> = (&'a [u8], &'a [u8]);

/// What the first record carries of a handshake, and what is behind it.
fn record(bytes: &[u8]) -> Result<Option<Parted<'_>>, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    // Between records of a hello there is no other; an empty one only wastes time.
    if head[0] != HANDSHAKE || head[1] != 3 || length == 0 || length > RECORD_BYTES_MAX {
        return Err(Malformed("a record that cannot be one of a hello"));
    }
    Ok(rest.split_at_checked(length))
}

/// The body of the hello, once all of it is there.
fn whole(message: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match message.first() {
        None => return Ok(None),
        Some(&CLIENT_HELLO) => {}
        Some(_) => return Err(Malformed("another message than a hello")),
    }
    let Some((head, body)) = message.split_first_chunk::<MESSAGE_HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(Malformed("a hello that is too long"));
    }
    // What follows it in its last record is not looked at: a client has nothing to say before it is answered.
    Ok(body.get(..length))
}

/// What has not been read of a structure.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn two(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What stands behind a length of one byte.
    fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// What stands behind a length of two bytes.
    fn long(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.two()?;
        self.take(length.into())
    }

    /// The name that a hello asks for.
    fn hello(mut self) -> Result<Option<Box<str>>, Malformed> {
        // The oldest version that is asked for, and what is drawn at random.
        self.take(2 + 32)?;
        let (session, ciphers, compression) = (self.short()?, self.long()?, self.short()?);
        if session.len() > 32 || ciphers.len() < 2 || ciphers.len() % 2 != 0 || compression.is_empty() {
            return Err(Malformed("a hello that asks for nothing possible"));
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut extensions = Reader(self.long()?);
        if !self.0.is_empty() {
            return Err(CUT);
        }
        let mut found = None;
        while !extensions.0.is_empty() {
            let (kind, content) = (extensions.two()?, extensions.long()?);
            if kind == SERVER_NAME && found.replace(Reader(content).names()?).is_some() {
                return Err(Malformed("two lists of names"));
            }
        }
        Ok(found)
    }

    /// The one name of a host in a list of names.
    fn names(mut self) -> Result<Box<str>, Malformed> {
        let mut list = Reader(self.long()?);
        if !self.0.is_empty() {
            return Err(CUT);
        }
        let (kind, name) = (list.byte()?, list.long()?);
        if kind != HOST_NAME || !list.0.is_empty() {
            return Err(Malformed("names of a kind that nobody knows"));
        }
        let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.iter().all(is_sound) {
            return Err(Malformed("no name of a host"));
        }
        Ok(String::from_utf8_lossy(name).to_ascii_lowercase().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixed(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &prefixed(content)].concat()
    }

    fn asks_for(name: &str) -> Vec<u8> {
        extension(SERVER_NAME, &prefixed(&[&[HOST_NAME][..], &prefixed(name.as_bytes())].concat()))
    }

    fn message(extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(32);
        body.extend([9; 32]);
        body.extend(prefixed(&[0x13, 0x01, 0x13, 0x02]));
        body.extend([1, 0]);
        body.extend(extensions.map(prefixed).unwrap_or_default());
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        message
    }

    fn records(message: &[u8], each: usize) -> Vec<u8> {
        let one = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &prefixed(part)].concat();
        message.chunks(each).flat_map(one).collect()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        records(&message(Some(extensions)), 10_000)
    }

    fn named(name: &str) -> Beginning {
        Beginning::Named(name.into())
    }

    #[test]
    fn the_name_is_found() {
        assert_eq!(read(&hello(&asks_for("A.Example"))), Ok(Some(named("a.example"))));
        let among = [extension(16, b"\0\x03\x02h2"), asks_for("b.example"), extension(43, b"\x02\x03\x04")];
        assert_eq!(read(&hello(&among.concat())), Ok(Some(named("b.example"))));
        let followed = [hello(&asks_for("c.example")), vec![20, 3, 3, 0, 1, 1]].concat();
        assert_eq!(read(&followed), Ok(Some(named("c.example"))));
    }

    #[test]
    fn there_may_be_none() {
        assert_eq!(read(&hello(&extension(43, b"\x02\x03\x04"))), Ok(Some(Beginning::Nameless)));
        assert_eq!(read(&records(&message(None), 1_000)), Ok(Some(Beginning::Nameless)));
    }

    #[test]
    fn what_is_no_tls_is_something_else() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\0", b"SSH-2.0", &[0x80, 0x2e, 1]] {
            assert_eq!(read(bytes), Ok(Some(Beginning::Other)));
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let twice = [asks_for("a.example"), asks_for("b.example")].concat();
        let two = prefixed(&[&[0][..], &prefixed(b"a"), &[0], &prefixed(b"b")].concat());
        let cut = prefixed(&[0, 0, 9, b'a']);
        for extensions in [
            twice,
            extension(SERVER_NAME, &two),
            extension(SERVER_NAME, &cut),
            extension(SERVER_NAME, b""),
            extension(SERVER_NAME, &[prefixed(&[&[0][..], &prefixed(b"a")].concat()), vec![1]].concat()),
            extension(SERVER_NAME, &prefixed(&[&[1][..], &prefixed(b"a")].concat())),
            asks_for(""),
            asks_for("a b"),
            asks_for("a\0"),
            asks_for("a/b"),
            asks_for(&"x".repeat(254)),
            vec![0, 0, 0],
            vec![0, 0, 0, 9, 1],
        ] {
            assert!(read(&hello(&extensions)).is_err(), "{extensions:?}");
        }
        for wrong in [
            &[HANDSHAKE, 2, 0, 0, 1, 1][..],
            &[HANDSHAKE, 3, 1, 0, 0],
            &[HANDSHAKE, 3, 1, 0xff, 0xff],
            &[HANDSHAKE, 3, 1, 0, 1, 2],
            &[HANDSHAKE, 3, 1, 0, 1, 1, 23, 3, 3, 0, 1, 0],
            &[HANDSHAKE, 3, 1, 0, 4, 1, 1, 0, 0],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let mut endless = records(&[&[CLIENT_HELLO, 0, 0x40, 0][..], &vec![0; 20_000]].concat(), 1);
        endless.truncate(HELLO_BYTES_MAX);
        assert_eq!(read(&endless), Err(Malformed("a hello that does not end")));
    }

    proptest! {
        #[test]
        fn a_hello_in_pieces_is_the_same(name in "[a-z0-9]{1,20}(\\.[a-z]{1,10}){0,3}", each in 1_usize..400) {
            let hello = records(&message(Some(&asks_for(&name))), each);
            for end in 0..hello.len() {
                prop_assert_eq!(read(&hello[..end]), Ok(None));
            }
            prop_assert_eq!(read(&hello), Ok(Some(named(&name))));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, at in any::<prop::sample::Index>(), flipped: u8) {
            let _ = read(&bytes);
            let _ = read(&records(&[&[CLIENT_HELLO, 0, 0, 60][..], &bytes].concat(), 1_000));
            let _ = read(&hello(&bytes));
            let mut hello = hello(&asks_for("a.example"));
            let at = at.index(hello.len());
            hello[at] ^= flipped;
            let _ = read(&hello);
        }
    }
}
