//! Carries a whole store elsewhere: into a file, out of one, or to another place that takes over.
//!
//! # The file
//! JSON lines in UTF-8. The first line is the header, an object with `"cotenant": "store"`, the `format`
//! (1), the schema, the program's version, the project's name or null, the store's `history` (its id), the
//! head of its log (`seq`, `hash`), its clock, fence and further counters, and how many `rows` each table
//! has. Then comes a line for each row, `{"table": "event", "seq": 1, …}`: the tables in the order
//! session, alias, edge, data, lease, mark, request, timer, task, dependency, event; the rows of each in the order of its
//! key; the columns as they are in the database, bytes as hexadecimal digits, texts as they are. JSON that
//! the store keeps, such as a value, is a text here, since its bytes count. The last line, with
//! `"end": "store"`, repeats the counts and the head, and has the SHA-256 of all lines before it.
//! What a redaction erased is not in the file. Tokens are not in it, only their digests.
//!
//! # Invariants
//! - What is carried is one snapshot. On arrival its rows are read back from the new store: they must give
//!   the same lines, and the log's chain must hold. Only then anybody sees the new store.
//! - A new store is made in one transaction, or beside its place and moved into it. Whoever is killed
//!   leaves none, or the one that was there.
//! - The clock goes on from where it stood, so that nothing expires by being carried. Fences rise beyond
//!   those of the store that is carried and of one that it replaces. The history stays, and with it every
//!   reader's cursor.
//!
//! # Moving
//! A store is closed by its schema gate, which every transaction reads: it then needs a schema that no
//! program knows, and a row of `mark` says where it went or where it comes from. A move is
//! 1. what has expired is settled; live sessions end it;
//! 2. a copy arrives, whole and checked, but closed;
//! 3. in one transaction the old store is looked at again, row by row except for events, which the head
//!    covers. If anything differs, the copy is made anew. Else the old store is closed: it keeps its rows,
//!    but nobody reads or writes it except to export it or to back it up;
//! 4. the new store is opened, and its log says from where it came.
//!
//! At no time both can be written. Whoever repeats an interrupted move finds out how far it came: before 3
//! it begins anew, after 3 it finishes.

mod build;
mod file;
mod gate;
mod moving;
mod rows;
mod table;

pub use build::{Imported, import};
pub use file::{Exported, export, export_to};
pub(crate) use gate::Gate;
pub(crate) use moving::refusal;
pub use moving::{Moved, relocate};
pub use rows::{Progress, Step};
