//! A connection in the hands of a thread, so that a server that says nothing more holds nobody up.

use std::{
    sync::mpsc::{self, Sender},
    thread,
    time::Duration,
};

use cotenant_core::{Code, Error, Result};

use super::{
    address::Address,
    client::Client,
    error::{error, silent, unreachable},
    tls,
};

/// Something to do with the connection.
type Job = Box<dyn FnOnce(&mut Client) + Send>;

/// A connection. Dropping it closes it, or leaves it to its thread if the server is silent.
pub(super) struct Line {
    jobs: Sender<Job>,
}

impl Line {
    /// Connects, within the time that the address allows: the client itself bounds no handshake.
    pub(super) fn open(address: &Address) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, made) = mpsc::channel();
        let dial = address.dialer()?;
        let work = move || match dial() {
            Ok(mut client) => {
                if sender.send(None).is_ok() {
                    for job in queue {
                        job(&mut client);
                    }
                }
            }
            Err(cause) => {
                let _ = sender.send(Some(cause));
            }
        };
        thread::Builder::new().name("postgres".into()).spawn(work).map_err(|cause| {
            Error::new(Code::StoreIo, "no thread can be started to connect with").caused_by(cause)
        })?;
        let server = address.server();
        match made.recv_timeout(address.connecting()) {
            Ok(None) => Ok(Self { jobs }),
            Ok(Some(cause)) if cause.as_db_error().is_some() => {
                Err(error(cause).detail("server", server))
            }
            Ok(Some(cause)) => {
                let made = tls::error(&server, &cause);
                Err(made.unwrap_or_else(|| unreachable(&server)).caused_by(cause))
            }
            Err(_) => Err(silent(&server)),
        }
    }

    /// Does something with the connection. Answers nothing if that takes too long; the connection can be
    /// used for nothing else then.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&mut Client) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = mpsc::channel();
        let job = move |client: &mut Client| {
            // Nobody may be waiting any more.
            let _ = sender.send(job(client));
        };
        self.jobs.send(Box::new(job)).ok()?;
        answer.recv_timeout(limit).ok()
    }
}
