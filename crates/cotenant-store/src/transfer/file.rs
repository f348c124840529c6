//! The file that a store is exported to.

use std::{
    fs::File,
    io::{BufRead, BufWriter, Read as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result, event::hex, name::shown};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Field};

use super::{
    rows::{Counts, Step, Sum, Tell, Which, counts, read},
    table::{Table, bytes, damaged},
};
use crate::{
    IfMissing, LocalStore, Location,
    create::{put_without_replacing, sync_directory},
    draft,
    meta::{Intent, Meta, SCHEMA},
    params,
    place::directory,
    sql::{Sql, Value},
    testing::failpoint,
    tx::WRITER_VERSION,
};

/// The format that this version writes and reads.
const FORMAT: i64 = 1;
/// What the first and the last line say of themselves.
const STORE: &str = "store";
/// The longest line: a value of 1 MiB can take a few times as much, and nothing else comes near.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

const UPDATE_CREATED: &str = "UPDATE meta SET created_at = $1 WHERE id = 1";
const SELECT_CREATED: &str = "SELECT created_at FROM meta WHERE id = 1";

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    cotenant: String,
    format: i64,
    schema: i64,
    version: String,
    project: Option<String>,
    pub(super) history: String,
    created_at: String,
    pub(super) seq: i64,
    hash: String,
    pruned_seq: i64,
    pruned_hash: String,
    tick: i64,
    fence: i64,
    sessions: i64,
    pub(super) rows: Counts,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    end: String,
    rows: Counts,
    seq: i64,
    hash: String,
    sha256: String,
}

/// What an export holds.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// Where it was written, unless it went to a stream.
    pub path: Option<PathBuf>,
    /// The history, which is the store's id.
    pub history: String,
    /// The newest event in it.
    pub seq: i64,
    /// How many rows of all tables.
    pub rows: u64,
    /// The SHA-256 of all lines but the last.
    pub sha256: String,
}

impl Header {
    /// What is to be said of a store, on a snapshot.
    pub(super) fn of(sql: &mut dyn Sql, project: Option<&str>) -> Result<Self> {
        let meta = Meta::load(sql, Intent::Carry)?;
        let created = sql.rows(SELECT_CREATED, &[])?.pop();
        let created_at = created.map_or_else(|| Ok(String::new()), |mut row| row.text())?;
        Ok(Self {
            cotenant: STORE.into(),
            format: FORMAT,
            schema: SCHEMA,
            version: WRITER_VERSION.into(),
            project: project.map(str::to_owned),
            history: meta.history,
            created_at,
            seq: meta.seq,
            hash: hex(&meta.hash),
            pruned_seq: meta.pruned_seq,
            pruned_hash: hex(&meta.pruned_hash),
            tick: meta.tick.0,
            fence: meta.fence,
            sessions: meta.sessions,
            rows: counts(sql)?,
        })
    }

    fn read(line: &str) -> Result<Self> {
        let fields: Map<String, Field> = serde_json::from_str(line).map_err(|_| foreign())?;
        if fields.get("cotenant").and_then(Field::as_str) != Some(STORE) {
            return Err(foreign());
        }
        let number = |name: &str| fields.get(name).and_then(Field::as_i64).unwrap_or(-1);
        let (format, schema) = (number("format"), number("schema"));
        if format > FORMAT || schema > SCHEMA {
            let what = format!("the export has format {format} and schema {schema}");
            return Err(Error::new(Code::SchemaNewer, what)
                .detail("format", format)
                .detail("schema", schema)
                .hint("import it with the version of cotenant that wrote it, or a newer one"));
        }
        if format < FORMAT || schema < SCHEMA {
            let what = format!("the export has format {format} and schema {schema}");
            return Err(Error::new(Code::SchemaOlder, what)
                .detail("format", format)
                .detail("schema", schema)
                .hint(
                    "import it with the version that wrote it, migrate that store, export it again",
                ));
        }
        serde_json::from_str(line).map_err(|cause| damaged("its header").caused_by(cause))
    }

    /// As the file has it, without its end.
    pub(super) fn line(&self) -> Result<String> {
        json(self)
    }

    /// Puts the numbers of the carried store into the row of a new one.
    pub(super) fn save(&self, sql: &mut dyn Sql, meta: &mut Meta) -> Result<()> {
        let hash = |digits: &str| {
            let bytes = bytes(digits).and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| damaged("its header has a hash that is none"))
        };
        meta.history.clone_from(&self.history);
        (meta.seq, meta.hash) = (self.seq, hash(&self.hash)?);
        (meta.pruned_seq, meta.pruned_hash) = (self.pruned_seq, hash(&self.pruned_hash)?);
        meta.tick.0 = self.tick;
        meta.fence = meta.fence.max(self.fence);
        meta.sessions = self.sessions;
        // The new store never had what was erased.
        meta.erasing = 0;
        meta.save(sql)?;
        meta.save_history(sql)?;
        sql.run(UPDATE_CREATED, params![&self.created_at]).map(drop)
    }
}

fn foreign() -> Error {
    Error::invalid("the file is not an export of a store").hint(
        "name a file that `cotenant export` wrote; a backup comes back with `cotenant restore`, files of other \
         tools with `cotenant instruction import`",
    )
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::internal("a line cannot be written as JSON").caused_by(cause))
}

/// Writes one snapshot of a store to a stream.
///
/// The snapshot lasts as long as the stream takes: do not let somebody slow read it.
pub fn export(
    from: &Location,
    project: Option<&str>,
    out: &mut dyn Write,
    tell: &mut Tell<'_>,
) -> Result<Exported> {
    let mut written = None;
    let failed = |cause| Error::new(Code::StoreIo, "the export cannot be written").caused_by(cause);
    LocalStore::open_at(from, IfMissing::Fail)?.with_engine(|engine| {
        engine.read(&mut |sql| {
            let header = Header::of(sql, project)?;
            let line = header.line()?;
            let mut put = |line: &str| writeln!(out, "{line}").map_err(failed);
            put(&line)?;
            let mut sum = Sum::begin(&line, &header.rows, Step::Copying);
            read(sql, Which::All, &mut sum, tell, &mut |_, _, line| put(line))?;
            let (rows, sha256) = (sum.counts().clone(), sum.digest());
            let (seq, hash) = (header.seq, header.hash.clone());
            let total = rows.values().sum();
            put(&json(&Trailer { end: STORE.into(), rows, seq, hash, sha256: sha256.clone() })?)?;
            let history = header.history;
            written = Some(Exported { path: None, history, seq, rows: total, sha256 });
            Ok(())
        })
    })?;
    out.flush().map_err(failed)?;
    written.ok_or_else(|| Error::internal("the export read nothing"))
}

/// Writes one snapshot of a store to a new file that only this user may read. Whoever looks sees the
/// whole file, or none.
pub fn export_to(
    from: &Location,
    project: Option<&str>,
    target: &Path,
    tell: &mut Tell<'_>,
) -> Result<Exported> {
    if target.exists() {
        return Err(crate::admin::exists(target));
    }
    let draft = draft::beside(target)?;
    let failed = |cause| crate::create::failed(target, cause);
    let made = (|| {
        let file = File::options().write(true).create_new(true).mode(0o600).open(&draft);
        let file = file.map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let exported = export(from, project, &mut out, tell)?;
        failpoint("export.written")?;
        out.get_ref().sync_all().map_err(failed)?;
        if !put_without_replacing(&draft, target)? {
            return Err(crate::admin::exists(target));
        }
        sync_directory(&directory(target))?;
        Ok(Exported { path: Some(target.to_path_buf()), ..exported })
    })();
    if made.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    made
}

/// A file on its way in.
pub(super) struct Reader<'a> {
    input: &'a mut dyn BufRead,
    /// Lines read so far.
    number: u64,
    buffer: Vec<u8>,
    pub(super) header: Header,
    /// The first line as it is.
    pub(super) line: String,
}

impl<'a> Reader<'a> {
    /// Reads the header.
    pub(super) fn open(input: &'a mut dyn BufRead) -> Result<Self> {
        let (mut number, mut buffer) = (0, Vec::new());
        let line = next(input, &mut number, &mut buffer)?.to_owned();
        let header = Header::read(&line)?;
        if header.line()? != line {
            return Err(damaged("its header was written by somebody else"));
        }
        Ok(Self { input, number, buffer, header, line })
    }

    /// Reads all rows. At the end, the sum must be that of the last line. Answers it.
    pub(super) fn rows(
        &mut self,
        tell: &mut Tell<'_>,
        each: &mut dyn FnMut(&'static Table, Vec<Value>) -> Result<()>,
    ) -> Result<Sum> {
        let mut sum = Sum::begin(&self.line, &self.header.rows, Step::Copying);
        loop {
            let line = next(self.input, &mut self.number, &mut self.buffer)?;
            let number = self.number;
            let fields: Map<String, Field> = serde_json::from_str(line).map_err(|cause| {
                damaged(format!("line {number} cannot be read")).caused_by(cause)
            })?;
            if fields.contains_key("end") {
                let trailer: Trailer = serde_json::from_str(line)
                    .map_err(|cause| damaged("its last line").caused_by(cause))?;
                self.check_end(&trailer, &sum)?;
                return Ok(sum);
            }
            let name = fields.get("table").and_then(Field::as_str).unwrap_or_default();
            let table = Table::of(name).ok_or_else(|| {
                damaged(format!("line {number} is of an unknown table `{}`", shown(name)))
            })?;
            let row = table.row(fields)?;
            sum.row(table, line, tell);
            each(table, row)?;
        }
    }

    fn check_end(&mut self, trailer: &Trailer, sum: &Sum) -> Result<()> {
        if trailer.end != STORE || trailer.sha256 != sum.digest() {
            return Err(damaged("its lines do not add up to the sum in the last one"));
        }
        let header = &self.header;
        let head = (trailer.seq, &trailer.hash) == (header.seq, &header.hash);
        if !head || trailer.rows != header.rows || *sum.counts() != header.rows {
            return Err(damaged("its first and last lines do not say the same"));
        }
        match self.input.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(damaged("something follows its last line")),
            Err(cause) => Err(unreadable(cause)),
        }
    }
}

fn next<'b>(input: &mut dyn BufRead, number: &mut u64, buffer: &'b mut Vec<u8>) -> Result<&'b str> {
    *number += 1;
    buffer.clear();
    input.take(LINE_BYTES_MAX).read_until(b'\n', buffer).map_err(unreadable)?;
    match std::str::from_utf8(buffer).ok().and_then(|line| line.strip_suffix('\n')) {
        Some(line) => Ok(line),
        None if *number == 1 => Err(foreign()),
        None => Err(damaged(format!("line {number} is cut off, or no text"))),
    }
}

fn unreadable(cause: std::io::Error) -> Error {
    Error::new(Code::StoreIo, "the export cannot be read").caused_by(cause)
}
