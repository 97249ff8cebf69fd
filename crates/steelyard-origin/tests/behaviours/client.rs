//! A blocking client that shows every byte of an answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use steelyard_origin::{Options, Origin};

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

pub fn origin(options: &str) -> Origin {
    Origin::start(&Options::from_json(options).expect("options that make sense")).expect("an origin")
}

pub struct Client {
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
}

impl Answer {
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a body of text")
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            line.split_once(": ").filter(|(field, _)| *field == name).map(|(_, value)| value)
        })
    }
}

impl Client {
    pub fn of(origin: &Origin) -> Self {
        let stream = TcpStream::connect(origin.address()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self { reader: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("bytes sent");
    }

    pub fn request(&mut self, method: &str, target: &str, fields: &str, body: &str) {
        self.send(format!("{method} {target} HTTP/1.1\r\nhost: test\r\n{fields}\r\n{body}"));
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "", "");
        self.answer(true)
    }

    pub fn head(&mut self, target: &str) -> Answer {
        self.request("HEAD", target, "", "");
        self.answer(false)
    }

    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        self.request("POST", target, &format!("content-length: {}\r\n", body.len()), body);
        self.answer(true)
    }

    /// Reads one answer, interim or final; `with_body` is false after HEAD.
    pub fn answer(&mut self, with_body: bool) -> Answer {
        self.try_answer(with_body).expect("an answer")
    }

    pub fn try_answer(&mut self, with_body: bool) -> io::Result<Answer> {
        let head = self.lines()?;
        let status = head.get(9..12).and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = Answer { status, head, body: Vec::new(), trailers: String::new() };
        if !with_body || status < 200 || status == 204 || status == 304 {
            return Ok(answer);
        }
        if let Some(length) = answer.field("content-length") {
            answer.body = vec![0; length.parse().map_err(io::Error::other)?];
            self.reader.read_exact(&mut answer.body)?;
        } else if answer.field("transfer-encoding").is_some() {
            self.chunks(&mut answer)?;
        } else {
            self.reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The rest of the stream; an error when it is reset.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    pub fn exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    pub fn finish(&self) {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write).expect("a socket");
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            if size == 0 {
                answer.trailers = self.lines()?;
                return Ok(());
            }
            let begin = answer.body.len();
            answer.body.resize(begin + size + 2, 0);
            self.reader.read_exact(&mut answer.body[begin..])?;
            answer.body.truncate(begin + size);
        }
    }

    /// Lines to an empty one.
    fn lines(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                return Ok(text);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// Waits for a condition that other threads bring about.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "still not true: {what}");
        std::thread::yield_now();
    }
}
