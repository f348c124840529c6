//! What `strace` wrote: the calls of all processes, in one order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A call that succeeded and concerns the recorded files.
#[derive(Debug)]
pub(super) struct Call {
    /// Its name.
    pub(super) name: String,
    /// Its arguments as they were written down; texts still have their escapes.
    arguments: Vec<String>,
    /// Its result: a number, and the file of a descriptor.
    result: String,
    /// The line at which it began, and the one at which it ended. Between them others may run.
    pub(super) began: usize,
    pub(super) ended: usize,
}

/// Reads the calls that concern files below a folder.
pub(super) fn read(trace: &Path, folder: &Path) -> Result<Vec<Call>> {
    let bytes = fs::read(trace).with_context(|| format!("no trace at {}", trace.display()))?;
    let text = String::from_utf8(bytes).context("a trace that is not ASCII")?;
    let folder = folder.to_str().context("a path that is not UTF-8")?;
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (process, said) = line.split_once(' ').context("a line without a process")?;
        let said = said.trim_start();
        if let Some(said) = said.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (number, said));
        } else if let Some(said) = said.strip_prefix("<... ") {
            let rest = said.split_once(" resumed>").context("a call that goes on nowhere")?.1;
            let (began, first) = unfinished.remove(process).context("a call that never began")?;
            if first.contains(folder) || rest.contains(folder) {
                calls.extend(Call::read(&format!("{first}{rest}"), began, number)?);
            }
        } else if said.contains(folder) && !said.starts_with("+++") {
            calls.extend(Call::read(said, number, number)?);
        }
    }
    Ok(calls)
}

impl Call {
    /// None if it failed, or its process died in it. A write in which it died counts as done: mostly it was, and
    /// others went on from it; where it was not, they wrote in the same place.
    fn read(said: &str, began: usize, ended: usize) -> Result<Option<Self>> {
        let (name, rest) = said.split_once('(').context("a call without arguments")?;
        let Some((arguments, result)) = split(rest) else { return Ok(None) };
        let result = result.trim_start_matches([')', ' ']).trim_start_matches("= ");
        let result = match (name, &arguments[..]) {
            // Of a process that is gone `strace` knows no result, or reads one that is no error's number.
            ("pwrite64", [_, _, size, _])
                if ["?", "-1 (errno "].iter().any(|unknown| result.starts_with(unknown)) =>
            {
                *size
            }
            _ if result.starts_with(['-', '?']) => return Ok(None),
            _ => result,
        };
        let result = result.to_owned();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Ok(Some(Self { name: name.to_owned(), arguments, result, began, ended }))
    }

    /// The driver's marks, if this call wrote some.
    pub(super) fn marks(&self, folder: &Path) -> Option<String> {
        let marks = self.name == "write" && self.file(0).ok()?? == folder.join("marks");
        String::from_utf8(marks.then(|| self.bytes(1).ok())??).ok()
    }

    fn argument(&self, index: usize) -> Result<&str> {
        let argument = self.arguments.get(index).map(String::as_str);
        argument.with_context(|| format!("`{}` without argument {index}", self.name))
    }

    /// The words of an argument that is made of flags.
    pub(super) fn has_flag(&self, index: usize, flag: &str) -> bool {
        self.argument(index).is_ok_and(|flags| flags.split('|').any(|word| word == flag))
    }

    /// A whole number.
    pub(super) fn number(&self, index: usize) -> Result<usize> {
        Ok(self.argument(index)?.parse()?)
    }

    /// How many bytes it transferred.
    pub(super) fn count(&self) -> Result<usize> {
        let number = self.result.split([' ', '<']).next().unwrap_or_default();
        Ok(number.parse()?)
    }

    /// The descriptor of an argument, as it is written.
    pub(super) fn descriptor(&self, index: usize) -> Result<u64> {
        Ok(self.argument(index)?.split('<').next().unwrap_or_default().parse()?)
    }

    /// The file behind a descriptor; none if it has no name any more.
    pub(super) fn file(&self, index: usize) -> Result<Option<PathBuf>> {
        Ok(behind(self.argument(index)?))
    }

    /// The descriptor that it opened, and its file.
    pub(super) fn opened(&self) -> Option<(u64, PathBuf)> {
        let number = self.result.split('<').next()?.parse().ok()?;
        Some((number, behind(&self.result)?))
    }

    /// A path, and the directory that it is relative to, if the call has one.
    pub(super) fn path(&self, directory: Option<usize>, index: usize) -> Result<PathBuf> {
        let path = PathBuf::from(String::from_utf8(self.bytes(index)?)?);
        match directory.map(|index| self.argument(index)).transpose()?.and_then(behind) {
            Some(directory) => Ok(directory.join(path)),
            None => Ok(path),
        }
    }

    /// The bytes of a text.
    pub(super) fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        let text = self.argument(index)?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        unescape(text.with_context(|| format!("`{}` was not recorded whole", self.name))?)
    }
}

/// `5</a/b>` is `/a/b`, unless that was removed.
fn behind(argument: &str) -> Option<PathBuf> {
    let path = argument.split_once('<')?.1.strip_suffix('>')?;
    (!path.ends_with("(deleted)")).then(|| path.into())
}

/// Arguments, split at commas outside texts, braces and brackets, and what follows their end.
fn split(rest: &str) -> Option<(Vec<&str>, &str)> {
    let (mut arguments, mut start, mut depth) = (Vec::new(), 0, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for (index, byte) in rest.bytes().enumerate() {
        if is_text {
            is_text = byte != b'"' || is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' if depth == 0 => {
                arguments.push(rest[start..index].trim());
                return Some((arguments, &rest[index..]));
            }
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(rest[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else { bail!("half an escape") };
        rest = after;
        bytes.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'"' | b'\\' => escape,
            b'0'..=b'7' => {
                let mut number = u32::from(escape - b'0');
                for _ in 0..2 {
                    let Some((digit @ b'0'..=b'7', after)) = rest.split_first() else { break };
                    number = number * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                u8::try_from(number)?
            }
            other => bail!("the escape `\\{}` is unknown", char::from(other)),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        Call::read(line, 0, 0).unwrap().unwrap()
    }

    #[test]
    fn a_write_is_read_with_its_place_and_bytes() {
        let call = call(r#"pwrite64(5</t/a,b>, "a\1b\377\"9\19, \\\n", 11, 4120) = 11"#);
        assert_eq!(call.file(0).unwrap().unwrap(), Path::new("/t/a,b"));
        assert_eq!(call.bytes(1).unwrap(), b"a\x01b\xff\"9\x019, \\\n");
        assert_eq!((call.number(3).unwrap(), call.count().unwrap()), (4120, 11));
    }

    #[test]
    fn names_are_joined_to_their_directory() {
        let call = call(r#"renameat2(AT_FDCWD</t>, "f", 4</u>, "g", RENAME_NOREPLACE) = 0"#);
        assert_eq!(call.path(Some(0), 1).unwrap(), Path::new("/t/f"));
        assert_eq!(call.path(Some(2), 3).unwrap(), Path::new("/u/g"));
        assert!(call.has_flag(4, "RENAME_NOREPLACE"));
    }

    #[test]
    fn what_failed_did_nothing() {
        let failed = r#"openat(AT_FDCWD</t>, "f", O_RDONLY) = -1 ENOENT (No such file)"#;
        assert!(Call::read(failed, 0, 0).unwrap().is_none());
        assert!(Call::read("fsync(5</t/f>) = ?", 0, 0).unwrap().is_none());
        for unknown in ["?", "-1 (errno 18446744073709551554)"] {
            let killed = format!(r#"pwrite64(5</t/f>, "ab", 2, 8) = {unknown}"#);
            assert_eq!(call(&killed).count().unwrap(), 2);
        }
        let full = r#"pwrite64(5</t/f>, "ab", 2, 8) = -1 ENOSPC (No space left on device)"#;
        assert!(Call::read(full, 0, 0).unwrap().is_none());
        let opened = call(r#"openat(AT_FDCWD</t>, "f", O_RDWR|O_CREAT, 0600) = 7</t/f>"#);
        assert_eq!(opened.opened().unwrap(), (7, PathBuf::from("/t/f")));
        let removed = call(r#"pwrite64(5</t/f (deleted)>, "x", 1, 0) = 1"#);
        assert_eq!(removed.file(0).unwrap(), None);
    }
}
