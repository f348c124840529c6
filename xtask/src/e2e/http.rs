//! HTTP/1.1 as far as the client speaks it: keep-alive, sized and chunked bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

/// No request of the client comes near this size.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// `POST`, `GET`, …
    pub(crate) method: String,
    /// Path and query, or the whole address when we are taken for a proxy.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads the next request; none when the client has closed the connection.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Self>> {
        let first = line(stream)?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            bail!("not a request: `{first}`");
        };
        let mut request = Self { method, target, ..Self::default() };
        loop {
            let header = line(stream)?;
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        request.body = request.read_body(stream)?;
        Ok(Some(request))
    }

    /// A header's value; the name in lower case.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn read_body(&self, stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            loop {
                let size = line(stream)?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).context("chunk size")?;
                read_exactly(stream, size, &mut body)?;
                line(stream)?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let size =
            self.header("content-length").unwrap_or("0").parse().context("content-length")?;
        read_exactly(stream, size, &mut body)?;
        Ok(body)
    }
}

/// Sends a whole answer; a `HEAD` gets the headers alone.
pub(crate) fn respond(
    stream: &mut TcpStream,
    request: &Request,
    status: u16,
    body: &str,
) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        reason(status),
        body.len(),
    );
    let body = if request.method == "HEAD" { "" } else { body };
    stream.write_all(format!("{head}{body}").as_bytes())?;
    Ok(stream.flush()?)
}

/// Sends server-sent events, a chunk each.
pub(crate) fn respond_events(stream: &mut TcpStream, events: &[(&str, String)]) -> Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
          Transfer-Encoding: chunked\r\n\r\n",
    )?;
    for (name, data) in events {
        let event = format!("event: {name}\ndata: {data}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    }
    stream.write_all(b"0\r\n\r\n")?;
    Ok(stream.flush()?)
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn read_exactly(stream: &mut BufReader<TcpStream>, size: usize, body: &mut Vec<u8>) -> Result<()> {
    if body.len().saturating_add(size) > BODY_BYTES_MAX {
        bail!("request body of more than {BODY_BYTES_MAX} bytes");
    }
    let read = stream.take(size as u64).read_to_end(body)?;
    if read < size {
        bail!("request body ends after {read} of {size} bytes");
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        _ => "Not Found",
    }
}
