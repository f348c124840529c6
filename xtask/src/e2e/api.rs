//! A Messages API on loopback whose model plays the script it finds in the prompt.
//!
//! `POST /v1/messages` answers the next [`script`] step, streamed or whole, and records the
//! request. A client that takes the server for a proxy (see [`home`](crate::e2e::home)) is refused
//! and recorded among [`Api::strays`], so that a test can assert that nothing but this server was
//! ever spoken to.
//!
//! # Invariants
//! - The server keeps no conversation: the same request is answered with the same step.
//! - A request is recorded before it is answered, also while its step waits for a file.
//! - A bad script and a wait without end are HTTP 400, which the client reports and does not retry.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::e2e::answer::Answer;
use crate::e2e::http::{Request, respond, respond_events};
use crate::e2e::recorded::Recorded;
use crate::e2e::script::{self, Step};

/// How long `@@wait` waits.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How often `@@wait` looks.
const WAIT_POLL: Duration = Duration::from_millis(10);

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Api {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    stopped: AtomicBool,
    log: Mutex<Log>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Recorded>,
    strays: Vec<String>,
    file: Option<File>,
}

impl Api {
    /// Starts a server on a free port; with a file, every request body is also appended to it as a
    /// line.
    pub(crate) fn start(record: Option<&Path>) -> Result<Self> {
        let file = match record {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Some(file.with_context(|| format!("cannot open `{}`", path.display()))?)
            }
            None => None,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            port,
            stopped: AtomicBool::new(false),
            log: Mutex::new(Log { file, ..Log::default() }),
            grown: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { port, shared })
    }

    /// What `ANTHROPIC_BASE_URL` is set to.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far, side requests included.
    #[must_use]
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.log().requests.clone()
    }

    /// How many requests there are so far; a mark for [`Api::wait_request`].
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.shared.log().requests.len()
    }

    /// The newest request of a conversation that mentions a text.
    pub(crate) fn require_mention(&self, text: &str) -> Result<Recorded> {
        let mut requests = self.requests().into_iter().rev();
        let found = requests.find(|request| request.is_turn() && request.mentions(text));
        found.with_context(|| format!("`{text}` never reached the model"))
    }

    /// Waits for a request numbered `from` or later for which `predicate` holds.
    pub(crate) fn wait_request(
        &self,
        from: usize,
        timeout: Duration,
        predicate: impl Fn(&Recorded) -> bool,
    ) -> Result<Recorded> {
        let end = Instant::now() + timeout;
        let mut log = self.shared.log();
        loop {
            if let Some(found) = log.requests.iter().skip(from).find(|request| predicate(request)) {
                return Ok(found.clone());
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                bail!("no such request within {timeout:?}, of {} in all", log.requests.len());
            };
            let woken = self.shared.grown.wait_timeout(log, left);
            log = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything else the client tried to reach, or asked of us: `METHOD target`.
    #[must_use]
    pub(crate) fn strays(&self) -> Vec<String> {
        self.shared.log().strays.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; if it is gone already, so much the better.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopped() {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(self);
            // A client that goes away in the middle of an answer is part of the tests.
            thread::spawn(move || shared.serve(stream).ok());
        }
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            if self.stopped() {
                break;
            }
            match (request.method.as_str(), request.path()) {
                ("POST", "/v1/messages") => self.messages(&mut stream, &request)?,
                ("POST", "/v1/messages/count_tokens") => {
                    let tokens = request.body.len() / 4;
                    let body = json!({"input_tokens": tokens}).to_string();
                    respond(&mut stream, &request, 200, &body)?;
                }
                ("GET" | "HEAD", "/") => respond(&mut stream, &request, 200, "{}")?,
                _ => {
                    self.log().strays.push(format!("{} {}", request.method, request.target));
                    let proxied = !request.target.starts_with('/');
                    let (status, kind) =
                        if proxied { (403, "permission_error") } else { (404, "not_found_error") };
                    let body = error(kind, "this API is scripted and alone");
                    respond(&mut stream, &request, status, &body)?;
                    if proxied {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn messages(&self, stream: &mut TcpStream, request: &Request) -> Result<()> {
        let body: Value = serde_json::from_slice(&request.body).context("request body")?;
        let recorded = self.record(request, body)?;
        let step = self.step(&recorded);
        let step = match step {
            Ok(step) => step,
            Err(why) => {
                let body = error("invalid_request_error", &format!("{why:#}"));
                return respond(stream, request, 400, &body);
            }
        };
        let answer = Answer {
            id: &format!("msg_{}_{}", self.port, recorded.number),
            model: recorded.body["model"].as_str().unwrap_or("scripted"),
            step: &step,
        };
        if recorded.body["stream"] == true {
            respond_events(stream, &answer.events())
        } else {
            respond(stream, request, 200, &answer.message().to_string())
        }
    }

    fn record(&self, request: &Request, body: Value) -> Result<Recorded> {
        let mut log = self.log();
        let recorded = Recorded::new(log.requests.len(), request, body);
        if let Some(file) = &mut log.file {
            writeln!(file, "{}", recorded.body)?;
        }
        log.requests.push(recorded.clone());
        self.grown.notify_all();
        Ok(recorded)
    }

    /// The answer to a request, after its wait.
    fn step(&self, recorded: &Recorded) -> Result<Step> {
        if !recorded.is_turn() {
            return Ok(Step::say("ok"));
        }
        let step = script::next(recorded.messages(), &recorded.tool_names())?;
        let end = Instant::now() + WAIT_MAX;
        while let Some(file) = &step.wait
            && !fs::exists(file)?
            && !self.stopped()
        {
            if Instant::now() > end {
                bail!("waited {WAIT_MAX:?} for `{}`", file.display());
            }
            thread::sleep(WAIT_POLL);
        }
        Ok(step)
    }
}

fn error(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
}
