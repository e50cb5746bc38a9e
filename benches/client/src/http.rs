//! As much of HTTP/1.1 as asking needs: one connection, one request at a time, bodies with a `Content-Length`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Longer than pinhole lets anybody wait.
const PATIENCE: Duration = Duration::from_mins(1);
const MAX_HEAD_BYTES: usize = 64 << 10;

/// One request.
pub struct Request<'a> {
    pub method: &'a str,
    pub target: &'a str,
    pub token: &'a str,
    /// A further header, such as `Range: bytes=0-1`.
    pub header: Option<String>,
}

/// One answer.
pub struct Answer {
    pub status: u16,
    /// Its header lines, in lower case up to the colon.
    head: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// A connection that is made when it is needed, and made anew after an error.
pub struct Connection {
    host: String,
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), stream: None, read: Vec::new() }
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        let answer = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let closes = answer.as_ref().map_or(true, |answer| answer.header("connection") == "close");
        if closes {
            self.stream = None;
            self.read.clear();
        }
        answer
    }

    async fn exchange(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let stream = TcpStream::connect(&self.host).await?;
                stream.set_nodelay(true)?;
                empty.insert(stream)
            }
        };
        let Request { method, target, token, header } = request;
        let mut text = Vec::new();
        write!(text, "{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host)?;
        if !token.is_empty() {
            write!(text, "Authorization: Bearer {token}\r\n")?;
        }
        if let Some(header) = header {
            write!(text, "{header}\r\n")?;
        }
        text.extend_from_slice(b"\r\n");
        stream.write_all(&text).await?;

        let read = &mut self.read;
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if read.len() > MAX_HEAD_BYTES || stream.read_buf(read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let head = std::str::from_utf8(&read[..end]).map_err(|_| bad())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(bad)?;
        let status = status.parse().map_err(|_| bad())?;
        let head = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, head, body: Vec::new() };
        read.drain(..end + 4);
        if *method == "HEAD" || status == 304 || status == 204 {
            return Ok(answer);
        }
        let length: usize = answer.header("content-length").parse().map_err(|_| bad())?;
        while read.len() < length {
            if stream.read_buf(read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answer.body = read.drain(..length).collect();
        Ok(answer)
    }
}

/// `http://host:port/target` as host and target.
pub fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let slash = rest.find('/')?;
    Some(rest.split_at(slash))
}
