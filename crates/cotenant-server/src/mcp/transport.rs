//! JSON messages, one a line, over a pair of byte streams.
//!
//! Both streams block, each on a thread of its own, so it does not matter whether a client gives
//! pipes, sockets or files. Unlike the library's transport it keeps the arguments of a tool call
//! as they were written: parsed and printed again, long numbers would lose digits and double
//! members would vanish.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    sync::{Arc, mpsc as blocking},
    thread,
};

use rmcp::{
    RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorData, JsonRpcMessage,
        RequestId, ServerJsonRpcMessage,
    },
    transport::Transport,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::patience::Awaited;

/// The longest line that is read: a value of the largest size, escaped at its worst.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many lines are read ahead.
const AHEAD: usize = 16;

/// The arguments of a tool call, as they were written.
#[derive(Clone)]
pub(crate) struct RawArguments(pub(crate) Arc<str>);

/// One line from the client.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The transport.
pub(crate) struct Lines {
    incoming: mpsc::Receiver<Line>,
    outgoing: Option<blocking::Sender<Vec<u8>>>,
    written: Option<oneshot::Receiver<()>>,
    awaited: Arc<Awaited>,
}

impl Lines {
    pub(crate) fn new(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        awaited: Arc<Awaited>,
    ) -> std::io::Result<Self> {
        let (lines, incoming) = mpsc::channel(AHEAD);
        let (outgoing, messages) = blocking::channel();
        let (done, written) = oneshot::channel();
        let thread =
            |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024);
        thread("mcp-in").spawn(move || read(input, &lines))?;
        thread("mcp-out").spawn(move || {
            write(output, &messages);
            let _ = done.send(());
        })?;
        Ok(Self { incoming, outgoing: Some(outgoing), written: Some(written), awaited })
    }

    /// Keeps account of who waits for an answer.
    fn note(&self, message: &mut ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                if let ClientRequest::CallToolRequest(call) = &mut request.request {
                    call.extensions.insert(self.awaited.enter(request.id.clone()));
                }
            }
            JsonRpcMessage::Notification(told) => {
                if let ClientNotification::CancelledNotification(cancelled) = &told.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.awaited.call_off(id);
                }
            }
            _ => {}
        }
    }

    /// Hands a message to the writer. Once the client has stopped reading there is nobody to tell.
    fn post(&self, message: &ServerJsonRpcMessage) {
        let mut line = serde_json::to_vec(message).expect("messages have string keys only");
        line.push(b'\n');
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.send(line);
        }
    }
}

impl Transport<RoleServer> for Lines {
    type Error = Infallible;

    /// Posts at once, so that answers leave in the order in which they were given.
    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        self.post(&message);
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let Some(line) = self.incoming.recv().await else {
                self.awaited.leave();
                return None;
            };
            let parsed = match line {
                Line::Whole(line) => parse(&line),
                Line::TooLong => Err(Fault::new(ErrorData::invalid_request(
                    "the line is longer than 16 MiB",
                    None,
                ))),
            };
            match parsed {
                Ok(mut message) => {
                    self.note(&mut message);
                    return Some(message);
                }
                Err(fault) => self.post(&ServerJsonRpcMessage::error(fault.error, fault.id)),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.outgoing.take();
        if let Some(written) = self.written.take() {
            let _ = written.await;
        }
        Ok(())
    }
}

/// Reads lines until the client closes its end.
fn read(input: impl Read, lines: &mpsc::Sender<Line>) {
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let cut = line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n");
        if cut && input.skip_until(b'\n').is_err() {
            return;
        }
        let line = if cut { Line::TooLong } else { Line::Whole(line) };
        let blank = matches!(&line, Line::Whole(line) if line.trim_ascii().is_empty());
        if !blank && lines.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Writes messages until there are no more or nobody reads them.
fn write(mut output: impl Write, messages: &blocking::Receiver<Vec<u8>>) {
    for message in messages {
        if output.write_all(&message).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

/// A line that is no message, and whom to tell.
struct Fault {
    id: Option<RequestId>,
    error: ErrorData,
}

impl Fault {
    fn new(error: ErrorData) -> Self {
        Self { id: None, error }
    }
}

/// The parts of a message that are looked at before the library reads it.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    id: Option<RequestId>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// Reads a message. The arguments of a call go around the library: they are kept as they were
/// written, and what can be large is never built as a tree.
fn parse(line: &[u8]) -> Result<ClientJsonRpcMessage, Fault> {
    let frame = serde_json::from_slice::<Frame<'_>>(line).ok();
    let arguments = frame.as_ref().and_then(call_arguments);
    let parsed = match arguments {
        Some(arguments) => serde_json::from_slice(&without(line, arguments)),
        None => serde_json::from_slice(line),
    };
    let mut message: ClientJsonRpcMessage = parsed.map_err(|error| {
        // A client that waits for an answer is told even if its message has the wrong form.
        let id = frame.as_ref().and_then(|frame| frame.id.clone());
        let what = error.to_string();
        let error = if error.is_data() {
            ErrorData::invalid_request(what, None)
        } else {
            ErrorData::parse_error(what, None)
        };
        Fault { id, error }
    })?;
    if let Some(arguments) = arguments
        && let JsonRpcMessage::Request(request) = &mut message
        && let ClientRequest::CallToolRequest(call) = &mut request.request
    {
        call.extensions.insert(RawArguments(arguments.into()));
    }
    Ok(message)
}

fn call_arguments<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    if frame.method?.get() != "\"tools/call\"" {
        return None;
    }
    let params: CallParams<'a> = serde_json::from_str(frame.params?.get()).ok()?;
    params.arguments.map(RawValue::get)
}

/// The line with `{}` in place of a part of it.
fn without(line: &[u8], part: &str) -> Vec<u8> {
    let start = part.as_ptr().addr() - line.as_ptr().addr();
    [&line[..start], b"{}", &line[start + part.len()..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_a_call_are_kept_as_written() {
        let line = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments": {"b":1.0, "a":123456789012345678901234567890,"a":2} }}"#;
        let Ok(JsonRpcMessage::Request(request)) = parse(line) else { panic!("no request") };
        let ClientRequest::CallToolRequest(call) = request.request else { panic!("no call") };
        let raw = call.extensions.get::<RawArguments>().unwrap();
        assert_eq!(&*raw.0, r#"{"b":1.0, "a":123456789012345678901234567890,"a":2}"#);
    }

    #[test]
    fn a_message_of_the_wrong_form_is_answered_under_its_id() {
        let fault = parse(br#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#).err().unwrap();
        assert_eq!(fault.id, Some(RequestId::Number(7)));
        let fault = parse(b"nonsense").err().unwrap();
        assert_eq!(fault.id, None);
        assert_eq!(fault.error.code, rmcp::model::ErrorCode::PARSE_ERROR);
    }

    #[test]
    fn lines_beyond_the_limit_are_skipped_and_said_so() {
        let mut input = vec![b' '; 10];
        input.push(b'\n');
        input.extend(std::iter::repeat_n(b'x', usize::try_from(LINE_BYTES_MAX).unwrap() + 5));
        input.extend(b"\nlast");
        let (lines, mut received) = mpsc::channel(AHEAD);
        read(&input[..], &lines);
        assert!(matches!(received.blocking_recv(), Some(Line::TooLong)));
        assert!(matches!(received.blocking_recv(), Some(Line::Whole(line)) if line == b"last"));
    }
}
