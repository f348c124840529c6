//! Services from Debian's packages, each in a scratch directory, durable: a write that is acknowledged
//! is on the disk.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use cotenant_testbed::Server;

use super::client::Service;
use crate::process::{Group, wait_until};

/// How long one may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service that runs as long as this lives.
pub(super) struct Running {
    pub(super) service: Service,
    /// The address of a store of ours there, where there can be one.
    pub(super) store: Option<String>,
    _process: Process,
}

enum Process {
    Of(#[expect(dead_code, reason = "kept alive")] Group),
    Server(#[expect(dead_code, reason = "kept alive")] Server),
}

/// `PostgreSQL` as it is installed: every commit is flushed.
pub(super) fn postgres() -> Result<Running> {
    let server = Server::durable().context("no PostgreSQL: apt-get install postgresql")?;
    server.client().batch_execute(
        "CREATE TABLE held (name TEXT PRIMARY KEY, by BIGINT NOT NULL); \
         CREATE TABLE job (id BIGINT PRIMARY KEY, taken_by BIGINT); \
         INSERT INTO job SELECT generate_series(1, 400000); \
         CREATE INDEX job_free ON job (id) WHERE taken_by IS NULL; ANALYZE job",
    )?;
    let service = Service::Postgres(server.settings());
    let store = Some(server.project());
    Ok(Running { service, store, _process: Process::Server(server) })
}

/// Redis, which flushes its log before each answer.
pub(super) fn redis(directory: &Path) -> Result<Running> {
    let socket = directory.join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
    let group = start(command, directory, "redis.log")?;
    wait_until("Redis", PATIENCE, || Ok(socket.exists().then_some(())))?;
    let service = Service::Redis(socket.display().to_string());
    Ok(Running { service, store: None, _process: Process::Of(group) })
}

/// A cluster of one, which flushes its log for each batch.
pub(super) fn etcd(directory: &Path) -> Result<Running> {
    let port = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    let (client, peer) = (port()?, port()?);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(directory.join("etcd"));
    for (option, port) in [
        ("--listen-client-urls", client),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer),
        ("--initial-advertise-peer-urls", peer),
    ] {
        command.args([option, &url(port)]);
    }
    command.args(["--initial-cluster", &format!("default={}", url(peer))]);
    let group = start(command, directory, "etcd.log")?;
    let service = Service::Etcd(client);
    wait_until("etcd", PATIENCE, || {
        let open = TcpStream::connect(("127.0.0.1", client)).is_ok();
        let leads = || {
            let mut names = service.connect()?;
            names.take("first", 0)
        };
        Ok((open && leads().is_ok()).then_some(()))
    })?;
    Ok(Running { service, store: None, _process: Process::Of(group) })
}

fn start(mut command: Command, directory: &Path, log: &str) -> Result<Group> {
    let log = File::create(directory.join(log))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Group::spawn(&mut command)
}
