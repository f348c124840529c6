//! A store behind `cotenant rpc`: requests as lines to a process, outcomes as lines from it.
//!
//! Any number of threads may ask at once. Each waits for the answer with the id of its own line, so
//! nobody waits for another's slow request.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
};

use cotenant_core::{
    Code, Error,
    store::{Outcome, Request, Store},
    wire,
};

/// Finds a session's token by its digest: requests name tokens by their digests only, and whoever
/// carries them out at the other end wants to see the token.
pub type Tokens = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A store that a process carries requests out for. It is ended when the value is dropped.
pub struct Lines {
    process: Child,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    tokens: Tokens,
}

/// Who waits for the answer of which line.
#[derive(Default)]
struct Waiting {
    last: u64,
    answers: HashMap<u64, Sender<Vec<Outcome>>>,
    /// Whether no answer will come any more.
    over: bool,
}

impl Lines {
    /// Starts a process that answers lines, such as `cotenant rpc`.
    pub fn start(command: &mut Command, tokens: Tokens) -> io::Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = Mutex::new(process.stdin.take());
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let waiting = Arc::<Mutex<Waiting>>::default();
        let heard = Arc::clone(&waiting);
        let listener = thread::Builder::new().name("lines".to_owned());
        if let Err(error) = listener.spawn(move || listen(output, &heard)) {
            let _ = process.kill();
            let _ = process.wait();
            return Err(error);
        }
        Ok(Self { process, input, waiting, tokens })
    }

    /// The process that carries requests out.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends requests and waits for their outcomes; none if the process is gone.
    fn ask(&self, requests: &[Request]) -> Result<Option<Vec<Outcome>>, Error> {
        let (sender, answer) = channel();
        let id = {
            let mut waiting = locked(&self.waiting);
            if waiting.over {
                return Ok(None);
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, sender);
            id
        };
        let sent = wire::ask(id, requests, &*self.tokens).map(|line| self.send(line));
        if !matches!(sent, Ok(Ok(()))) {
            locked(&self.waiting).answers.remove(&id);
        }
        // An error of the pipe says no more than that the process is gone.
        if sent?.is_err() {
            return Ok(None);
        }
        Ok(answer.recv().ok().filter(|outcomes| outcomes.len() == requests.len()))
    }

    fn send(&self, mut line: String) -> io::Result<()> {
        line.push('\n');
        let mut input = locked(&self.input);
        input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // At the end of its input it ends; nothing of ours is under way.
        drop(locked(&self.input).take());
        let _ = self.process.wait();
    }
}

impl Store for Lines {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        let failed = |error: &Error| requests.iter().map(|_| Err(error.to_wire().into())).collect();
        if requests.is_empty() {
            return Vec::new();
        }
        match self.ask(&requests) {
            Ok(Some(outcomes)) => outcomes,
            Ok(None) => failed(&gone()),
            Err(error) => failed(&error),
        }
    }
}

fn gone() -> Error {
    Error::new(Code::StoreIo, "the process that carries out requests is gone")
        .hint("repeat the request; under the same request id it takes effect once")
}

/// Gives answers to those who wait for them, until there are no more.
fn listen(output: impl Read, waiting: &Mutex<Waiting>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        if !matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            break;
        }
        // What is no answer is none of ours; whoever would wait for it sees the end.
        let Some((id, outcomes)) = wire::outcomes(&line) else { break };
        if let Some(sender) = locked(waiting).answers.remove(&id) {
            let _ = sender.send(outcomes);
        }
    }
    let mut waiting = locked(waiting);
    waiting.over = true;
    waiting.answers.clear();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
