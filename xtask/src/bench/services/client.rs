//! Clients of services that one would use instead, each over one connection: as little as does the job.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cotenant_testbed::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A service, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Service {
    /// `PostgreSQL`, by the settings of a connection.
    Postgres(String),
    /// Redis, by its socket.
    Redis(String),
    /// etcd, by its port.
    Etcd(u16),
}

/// A queue in a table, as one writes it by hand: whoever comes takes the first row that nobody works on.
pub(crate) struct Queue {
    client: Client,
    take: cotenant_testbed::Statement,
}

impl Queue {
    /// Connects.
    pub(crate) fn connect(settings: &str) -> Result<Self> {
        let mut client = cotenant_testbed::connect(settings)?;
        let take = client.prepare(
            "UPDATE job SET taken_by = $1 WHERE id = (SELECT id FROM job WHERE taken_by IS NULL \
             ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
        )?;
        Ok(Self { client, take })
    }

    /// Takes a row.
    pub(crate) fn take(&mut self, by: u64) -> Result<u64> {
        let row = self.client.query_opt(&self.take, &[&by.cast_signed()])?;
        let id: i64 = row.context("no row is left")?.try_get(0)?;
        Ok(id.unsigned_abs())
    }
}

/// What is asked of a service: to take a name unless somebody has it, and to give it back.
pub(crate) trait Names {
    /// Takes a name; false if somebody has it.
    fn take(&mut self, name: &str, by: u64) -> Result<bool>;
    /// Gives it back.
    fn give_back(&mut self, name: &str) -> Result<()>;
}

impl Service {
    /// Connects.
    pub(crate) fn connect(&self) -> Result<Box<dyn Names>> {
        Ok(match self {
            Self::Postgres(settings) => Box::new(Postgres::connect(settings)?),
            Self::Redis(socket) => Box::new(Redis::connect(socket)?),
            Self::Etcd(port) => Box::new(Etcd::connect(*port)?),
        })
    }
}

struct Postgres {
    client: Client,
    take: cotenant_testbed::Statement,
    give_back: cotenant_testbed::Statement,
}

impl Postgres {
    fn connect(settings: &str) -> Result<Self> {
        let mut client = cotenant_testbed::connect(settings)?;
        let take =
            client.prepare("INSERT INTO held (name, by) VALUES ($1, $2) ON CONFLICT DO NOTHING")?;
        let give_back = client.prepare("DELETE FROM held WHERE name = $1")?;
        Ok(Self { client, take, give_back })
    }
}

impl Names for Postgres {
    fn take(&mut self, name: &str, by: u64) -> Result<bool> {
        Ok(self.client.execute(&self.take, &[&name, &by.cast_signed()])? == 1)
    }

    fn give_back(&mut self, name: &str) -> Result<()> {
        let gone = self.client.execute(&self.give_back, &[&name])?;
        ensure!(gone == 1, "{name} was not held");
        Ok(())
    }
}

struct Redis(BufReader<UnixStream>);

impl Redis {
    fn connect(socket: &str) -> Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    /// Sends a command and reads an answer of one line, or of a short text.
    fn ask(&mut self, words: &[&str]) -> Result<String> {
        let parts = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let line = format!("*{}\r\n{}", words.len(), parts.collect::<String>());
        self.0.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Names for Redis {
    fn take(&mut self, name: &str, by: u64) -> Result<bool> {
        match self.ask(&["SET", name, &by.to_string(), "NX"])?.as_str() {
            "+OK" => Ok(true),
            "$-1" | "_" => Ok(false),
            other => bail!("Redis says {other}"),
        }
    }

    fn give_back(&mut self, name: &str) -> Result<()> {
        let answer = self.ask(&["DEL", name])?;
        ensure!(answer == ":1", "Redis says {answer}");
        Ok(())
    }
}

struct Etcd(BufReader<TcpStream>);

impl Etcd {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// One call of the JSON gateway, over a connection that stays.
    fn ask(&mut self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "POST /v3/kv/{path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut length = None;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "etcd closed the connection");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut answer = vec![0; length.context("an answer of unknown length")?];
        self.0.read_exact(&mut answer)?;
        serde_json::from_slice(&answer).context("an answer that is no JSON")
    }
}

impl Names for Etcd {
    fn take(&mut self, name: &str, by: u64) -> Result<bool> {
        let key = STANDARD.encode(name);
        let body = json!({
            "compare": [{"key": key, "target": "CREATE", "create_revision": "0"}],
            "success": [{"requestPut": {"key": key, "value": STANDARD.encode(by.to_string())}}],
        });
        let answer = self.ask("txn", &body)?;
        ensure!(answer["error"].is_null(), "etcd says {answer}");
        Ok(answer["succeeded"] == true)
    }

    fn give_back(&mut self, name: &str) -> Result<()> {
        let answer = self.ask("deleterange", &json!({"key": STANDARD.encode(name)}))?;
        ensure!(answer["deleted"] == "1", "etcd says {answer}");
        Ok(())
    }
}
