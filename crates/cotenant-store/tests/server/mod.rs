//! A real `PostgreSQL` server in a scratch directory, and a bench over it.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started fails its tests")]

#[path = "../bench/world.rs"]
pub(crate) mod world;

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cotenant_conformance::Bench;
use cotenant_core::store::Store;
use cotenant_store::{IfMissing, LocalStore, postgres::Address, sql::Clock};
use postgres::{Client, NoTls};
use tempfile::TempDir;

use world::World;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(20);
/// A database with one user at a time, before the number. In others somebody may keep a transaction open.
const QUIET: &str = "quiet";
/// Ends the server when this process ends, however it does: its end of the pipe is closed then.
const KEEPER: &str = r#""$@" & pid=$!; cat >/dev/null; kill -INT $pid; wait $pid"#;

/// A server of our own, which ends with its last user.
pub(crate) struct Server {
    directory: TempDir,
    keeper: Child,
    projects: AtomicU32,
    port: u16,
    quiet: Mutex<Quiet>,
}

/// The databases with one user at a time.
#[derive(Default)]
struct Quiet {
    made: u32,
    free: Vec<String>,
}

/// A database that nobody else uses meanwhile.
pub(crate) struct QuietDatabase {
    server: Arc<Server>,
    name: String,
}

impl QuietDatabase {
    pub(crate) fn of(server: &Arc<Server>) -> Self {
        let mut quiet = server.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let free = quiet.free.pop();
        let name = free.unwrap_or_else(|| {
            quiet.made += 1;
            let name = format!("{QUIET}{}", quiet.made);
            server.client().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
            name
        });
        drop(quiet);
        Self { server: Arc::clone(server), name }
    }

    /// The address of a project in it that nobody has used.
    pub(crate) fn project(&self) -> Address {
        let number = self.server.projects.fetch_add(1, Ordering::SeqCst);
        self.server.address_in(&self.name, "postgres", &format!("case-{number}"))
    }

    /// A connection of the server's superuser to it.
    pub(crate) fn client(&self) -> Client {
        self.server.try_client(&self.name).unwrap()
    }
}

impl Drop for QuietDatabase {
    fn drop(&mut self) {
        let mut quiet = self.server.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.free.push(std::mem::take(&mut self.name));
    }
}

impl Server {
    /// The server that the tests of this program share.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::own()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server for one test. Without `PostgreSQL`'s programs there is none, which is said, and is an
    /// error where all tests must run.
    #[expect(clippy::print_stdout, reason = "tests say what they leave out")]
    pub(crate) fn own() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(env::var_os("CI").is_none(), "no PostgreSQL: apt-get install postgresql");
            println!("skipped: no PostgreSQL; apt-get install postgresql");
            return None;
        };
        Some(Self::start(&programs))
    }

    fn start(programs: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let user = is_root().then(user);
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let log = File::create(directory.path().join("log")).unwrap();
        let run = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(directory.path()).env_clear().env("PATH", "/usr/bin:/bin");
            command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        // Where the order of texts is that of a language, ours must be bytewise all the same.
        let made = run(programs.join("initdb").to_str().unwrap())
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"])
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        let said = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        assert!(made.success(), "initdb failed: {}", said());
        // Nobody else is likely to take it meanwhile.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let encrypted: &[&str] = if make_certificates(directory.path(), user) {
            &[
                "-c",
                "ssl=on",
                "-c",
                "ssl_cert_file=../server.crt",
                "-c",
                "ssl_key_file=../server.key",
            ]
        } else {
            &[]
        };
        let keeper = run("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")])
            .args(["-c", "fsync=off", "-c", "max_connections=200"])
            .args(["-c", "full_page_writes=off", "-c", "autovacuum=off"])
            .args(encrypted)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (projects, quiet) = (AtomicU32::new(0), Mutex::default());
        let server = Self { directory, keeper, projects, port, quiet };
        let until = Instant::now() + PATIENCE;
        while server.try_client("postgres").is_none() {
            let log = fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server does not start: {log}");
            thread::sleep(PAUSE);
        }
        server
    }

    /// Where its socket and its data are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority that vouches for the server as `localhost`, if there is one, and its port.
    pub(crate) fn authority(&self) -> Option<(PathBuf, u16)> {
        let file = self.directory.path().join("authority.crt");
        file.exists().then_some((file, self.port))
    }

    fn try_client(&self, database: &str) -> Option<Client> {
        let directory = self.directory.path().to_str().unwrap();
        let mut config = postgres::Config::new();
        config.host(directory).port(self.port).user("postgres").dbname(database);
        config.connect(NoTls).ok()
    }

    /// A connection of its superuser.
    pub(crate) fn client(&self) -> Client {
        self.try_client("postgres").unwrap()
    }

    /// The address of a project that nobody has used.
    pub(crate) fn project(&self) -> Address {
        let number = self.projects.fetch_add(1, Ordering::SeqCst);
        self.address("postgres", &format!("case-{number}"))
    }

    /// The address of a project for a user.
    pub(crate) fn address(&self, user: &str, project: &str) -> Address {
        self.address_in("postgres", user, project)
    }

    fn address_in(&self, database: &str, user: &str, project: &str) -> Address {
        let (directory, port) = (self.directory.path().display(), self.port);
        let text =
            format!("postgres://{user}@/{database}?host={directory}&port={port}&project={project}");
        Address::parse(&text, None).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Makes an authority and a certificate for `localhost`, with `openssl` where that is installed.
fn make_certificates(directory: &Path, user: Option<(u32, u32)>) -> bool {
    fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(directory).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let made = [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ours \
         -keyout authority.key -out authority.crt",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
         -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 \
         -extfile names -out server.crt",
    ]
    .into_iter()
    .all(openssl);
    if let (true, Some((uid, gid))) = (made, user) {
        chown(directory.join("server.key"), Some(uid), Some(gid)).unwrap();
        chown(directory.join("server.crt"), Some(uid), Some(gid)).unwrap();
    }
    made
}

/// Where `PostgreSQL`'s programs are. Debian keeps them out of the path.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    found
        .into_iter()
        .rev()
        .find(|path| ["initdb", "postgres"].iter().all(|p| path.join(p).exists()))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A user and a group that are not root: `PostgreSQL` refuses to run as root.
fn user() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    ids("postgres").or_else(|| ids("nobody")).expect("a user that is not root")
}

/// A store of a project whose clock and processes the tests move.
pub(crate) fn open(address: &Address, world: &World, clock: impl Clock + 'static) -> LocalStore {
    let (clock, processes) = (Box::new(clock), Box::new(world.clone()));
    LocalStore::open_postgres_with(address, IfMissing::Create, clock, processes).unwrap()
}

/// A bench over a project of its own.
pub(crate) struct PostgresBench {
    address: Address,
    world: World,
    store: LocalStore,
    _database: QuietDatabase,
}

impl PostgresBench {
    /// A fresh store.
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        let (database, world) = (QuietDatabase::of(server), World::new());
        let address = database.project();
        let store = open(&address, &world, world.clone());
        Self { address, world, store, _database: database }
    }
}

impl Bench for PostgresBench {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn second(&self) -> Box<dyn Store> {
        Box::new(open(&self.address, &self.world, self.world.clone()))
    }

    fn world(&self) -> &dyn cotenant_conformance::World {
        &self.world
    }

    /// A server compresses what is long, and keeps its log.
    fn raw_bytes(&self) -> Option<Vec<u8>> {
        None
    }
}
