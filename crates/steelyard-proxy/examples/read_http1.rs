//! Says how the codec reads a request: the other half of `tests/test_differential.py`.
//!
//! Reads one input per line from standard input, in hexadecimal, and writes one JSON object per line: `{"refused":
//! status}`, `{}` for an incomplete head, or what was read of the request and of its content.

use std::{fmt::Write as _, io};

use serde_json::{Value, json};
use steelyard_proxy::head::{Fields, Framing, RequestHead, Span, Version};
use steelyard_proxy::http1::{
    Limits, Malformed,
    chunked::{Decoder, Step},
    request,
};

fn main() -> io::Result<()> {
    for line in io::stdin().lines() {
        println!("{}", read(&from_hex(&line?)));
    }
    Ok(())
}

fn read(input: &[u8]) -> Value {
    let mut fields = Fields::new();
    let head = match request::parse(input, &Limits::default(), &mut fields) {
        Err(reject) => return json!({ "refused": reject.status }),
        Ok(None) => return json!({}),
        Ok(Some(head)) => head,
    };
    let text = |span: Span| hex(span.of(input));
    let fields: Vec<_> = fields.iter().map(|field| (text(field.name), text(field.value))).collect();
    json!({
        "method": text(head.method_span),
        "target": text(target(&head)),
        "version": if head.version == Version::Http10 { "1.0" } else { "1.1" },
        "fields": fields,
        "keep_alive": head.keep_alive,
        "content": content(&head, &input[head.head_bytes as usize..]),
    })
}

/// The target as it was sent: what stands behind the method.
fn target(head: &RequestHead) -> Span {
    let end = head.query.map_or(head.path.end, |query| query.end);
    Span { start: head.method_span.end + 1, end }
}

/// The content and the bytes after it; null while incomplete, false if malformed.
fn content(head: &RequestHead, input: &[u8]) -> Value {
    let whole = |data: &[u8], left: usize| json!({ "data": hex(data), "left": left });
    match head.framing {
        Framing::None | Framing::UntilClose => whole(b"", input.len()),
        Framing::Length(length) => {
            match usize::try_from(length).ok().and_then(|length| input.split_at_checked(length)) {
                Some((data, left)) => whole(data, left.len()),
                None => Value::Null,
            }
        }
        Framing::Chunked => match decode(input) {
            Ok(Some((data, left))) => whole(&data, left),
            Ok(None) => Value::Null,
            Err(_) => json!(false),
        },
    }
}

fn decode(mut input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let (mut decoder, mut data) = (Decoder::new(), Vec::new());
    loop {
        match decoder.step(input)? {
            Step::Data { skip, len } => {
                data.extend_from_slice(&input[skip..skip + len]);
                input = &input[skip + len..];
            }
            Step::End { consumed, .. } => return Ok(Some((data, input.len() - consumed))),
            Step::NeedMore { .. } => return Ok(None),
        }
    }
}

fn from_hex(line: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    line.trim().as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
