//! A real `PostgreSQL` server in a scratch directory, for tests and for the laboratory.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started fails its tests")]

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

use postgres::NoTls;
pub use postgres::{Client, Statement};
use tempfile::TempDir;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(20);
/// A database of which the contract's cases are the only users.
const QUIET: &str = "quiet";
/// What a test does without: its machine does not lose power.
const LOOSE: [&str; 4] = ["-c", "fsync=off", "-c", "full_page_writes=off"];
/// Ends the server when this process ends, however it does: its end of the pipe is closed then.
const KEEPER: &str = r#""$@" & pid=$!; cat >/dev/null; kill -INT $pid; wait $pid"#;

/// A server of our own, which ends with its last user.
pub struct Server {
    directory: TempDir,
    keeper: Mutex<Child>,
    programs: PathBuf,
    projects: AtomicU32,
    port: u16,
}

impl Server {
    /// The server that the tests of this program share.
    pub fn shared() -> Option<Arc<Self>> {
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
    pub fn own() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(env::var_os("CI").is_none(), "no PostgreSQL: apt-get install postgresql");
            println!("skipped: no PostgreSQL; apt-get install postgresql");
            return None;
        };
        Some(Self::start(&programs, &LOOSE))
    }

    /// A server that flushes what it acknowledges, for measurements; none without its programs.
    pub fn durable() -> Option<Self> {
        programs().map(|programs| Self::start(&programs, &[]))
    }

    fn start(programs: &Path, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let user = is_root().then(user);
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let run = |program: &str| command(directory.path(), program);
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
        let mut options: Vec<String> =
            ["listen_addresses=127.0.0.1", "max_connections=200", "autovacuum=off"]
                .map(str::to_owned)
                .into();
        options.extend(settings.iter().filter(|word| **word != "-c").map(|&word| word.to_owned()));
        options.push(format!("port={port}"));
        if make_certificates(directory.path(), user) {
            let files = ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key"];
            options.extend(files.map(str::to_owned));
        }
        let lines = options.iter().fold(String::new(), |lines, option| {
            let (name, value) = option.split_once('=').unwrap();
            lines + name + " = '" + value + "'\n"
        });
        fs::write(data.join("postgresql.auto.conf"), lines).unwrap();
        let keeper = Mutex::new(keep(directory.path(), programs));
        let programs = programs.to_path_buf();
        let server = Self { directory, keeper, programs, projects: AtomicU32::new(0), port };
        server.wait_ready();
        server.client().batch_execute(&format!("CREATE DATABASE {QUIET}")).unwrap();
        server
    }

    /// Waits until it answers.
    fn wait_ready(&self) {
        let until = Instant::now() + PATIENCE;
        while self.try_client("postgres").is_none() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server does not start: {log}");
            thread::sleep(PAUSE);
        }
    }

    /// The process that started all others of the server.
    pub fn pid(&self) -> u32 {
        let file = self.directory.path().join("data/postmaster.pid");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().next().and_then(|line| line.parse().ok()).expect("a server that runs")
    }

    /// Starts it again after its first process was ended, and waits until it answers.
    pub fn start_again(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
        // Its children end when they notice; until then no other may work on its files.
        let until = Instant::now() + PATIENCE;
        while self.has_processes() {
            assert!(Instant::now() < until, "the server's processes do not end");
            thread::sleep(PAUSE);
        }
        *keeper = keep(self.directory.path(), &self.programs);
        self.wait_ready();
    }

    /// Whether some process works in its files.
    fn has_processes(&self) -> bool {
        let data = self.directory.path().join("data");
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut places = all.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
        places.any(|place| place == data)
    }

    /// Where its socket and its data are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority that vouches for the server as `localhost`, if there is one, and its port.
    pub fn authority(&self) -> Option<(PathBuf, u16)> {
        let file = self.directory.path().join("authority.crt");
        file.exists().then_some((file, self.port))
    }

    fn try_client(&self, database: &str) -> Option<Client> {
        let directory = self.directory.path().to_str().unwrap();
        let mut config = postgres::Config::new();
        config.host(directory).port(self.port).user("postgres").dbname(database);
        config.connect(NoTls).ok()
    }

    /// A connection of its superuser; none while it does not answer.
    pub fn find_client(&self) -> Option<Client> {
        self.try_client("postgres")
    }

    /// A connection of its superuser.
    pub fn client(&self) -> Client {
        self.try_client("postgres").unwrap()
    }

    /// A connection of its superuser to the quiet database.
    pub fn quiet_client(&self) -> Client {
        self.try_client(QUIET).unwrap()
    }

    /// The address of a project that nobody has used.
    pub fn project(&self) -> String {
        self.address("postgres", &self.fresh())
    }

    /// As [`Self::project`], in a database in which no other test keeps a transaction open.
    pub fn quiet_project(&self) -> String {
        self.address_in(QUIET, "postgres", &self.fresh())
    }

    /// The address of a project for a user.
    pub fn address(&self, user: &str, project: &str) -> String {
        self.address_in("postgres", user, project)
    }

    /// As [`Self::address`], over the network of this machine instead of the socket.
    pub fn network_address(&self, user: &str, project: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres?project={project}", self.port)
    }

    /// What a client needs to connect to it as its superuser.
    pub fn settings(&self) -> String {
        let directory = self.directory.path().display();
        format!("host={directory} port={} user=postgres dbname=postgres", self.port)
    }

    /// The port on which it listens at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn fresh(&self) -> String {
        format!("case-{}", self.projects.fetch_add(1, Ordering::SeqCst))
    }

    fn address_in(&self, database: &str, user: &str, project: &str) -> String {
        let (directory, port) = (self.directory.path().display(), self.port);
        format!("postgres://{user}@/{database}?host={directory}&port={port}&project={project}")
    }
}

/// Connects as [`Server::settings`] says.
pub fn connect(settings: &str) -> Result<Client, postgres::Error> {
    Client::connect(settings, NoTls)
}

impl Drop for Server {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

/// A program of the server, in its directory and as its user.
fn command(directory: &Path, program: &str) -> Command {
    let log = File::options().append(true).create(true).open(directory.join("log")).unwrap();
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdout(log.try_clone().unwrap()).stderr(log);
    if is_root() {
        let (uid, gid) = user();
        command.uid(uid).gid(gid);
    }
    command
}

/// Starts the server, and what ends it with this process.
fn keep(directory: &Path, programs: &Path) -> Child {
    let mut command = command(directory, "sh");
    command.args(["-c", KEEPER, "keeper"]).arg(programs.join("postgres"));
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
    command.stdin(Stdio::piped()).spawn().unwrap()
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
