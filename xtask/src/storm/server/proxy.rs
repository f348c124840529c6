//! A network of our own: connections to a server pass through it, and it can be slow, silent or cut.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// How often a silent network looks whether it is still silent.
const PAUSE: Duration = Duration::from_millis(5);
const BUFFER: usize = 16 * 1024;

/// What the connections of a proxy share.
#[derive(Debug, Default)]
struct State {
    /// Nothing passes, as if all packets were lost.
    is_silent: AtomicBool,
    delay_ms: AtomicU64,
    /// Connections before this one are silent for good.
    swallowed: AtomicUsize,
    /// Both ends of each connection: the client's and the server's.
    connections: Mutex<Vec<(TcpStream, TcpStream)>>,
    passed: AtomicUsize,
}

/// A listener on this machine in front of a server.
#[derive(Debug)]
pub(super) struct Proxy {
    state: Arc<State>,
    port: u16,
}

impl Proxy {
    /// Listens in front of the server at this port. Its threads end with the process.
    pub(super) fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down refuses; so do we.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                let _ = shared.join(&client, &server);
            }
        });
        Ok(Self { state, port })
    }

    /// Where clients connect.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were.
    pub(super) fn passed(&self) -> usize {
        self.state.passed.load(Ordering::Relaxed)
    }

    /// Lets nothing pass, or everything again.
    pub(super) fn silence(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Lets nothing pass on the connections that there are, ever again.
    pub(super) fn swallow(&self) {
        self.state.swallowed.store(self.passed(), Ordering::Relaxed);
    }

    /// Holds every packet back for so long.
    pub(super) fn delay(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Cuts all connections. The server notices, or has half a connection that nobody uses.
    pub(super) fn cut(&self, server_notices: bool) {
        let mut connections = self.state.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for (client, server) in connections.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            if server_notices {
                let _ = server.shutdown(Shutdown::Both);
            } else {
                // Its end stays open for as long as this process lives.
                std::mem::forget(server);
            }
        }
    }
}

impl State {
    fn join(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) -> Result<()> {
        let number = self.passed.fetch_add(1, Ordering::Relaxed);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        for (from, to) in [(client, server), (server, client)] {
            let (from, to, state) = (from.try_clone()?, to.try_clone()?, Arc::clone(self));
            thread::spawn(move || state.forward(number, from, to));
        }
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.push((client.try_clone()?, server.try_clone()?));
        Ok(())
    }

    /// Passes on what comes. An end that goes closes the other, unless nobody could tell it.
    fn forward(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match from.read(&mut buffer) {
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(_) | Ok(0) => break,
                Ok(read) => read,
            };
            while self.is_silent.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
            if number < self.swallowed.load(Ordering::Relaxed) {
                continue;
            }
            thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)));
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        if number < self.swallowed.load(Ordering::Relaxed) {
            // Nobody learns of the end, either.
            return;
        }
        let _ = from.shutdown(Shutdown::Read);
        let _ = to.shutdown(Shutdown::Write);
    }
}
