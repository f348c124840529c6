//! As much of the ELF format as tells a static program from a dynamic one.

use anyhow::{Context, Result, ensure};

/// The segment that names the dynamic linker.
const PT_INTERP: u32 = 3;

/// Whether a 64-bit little-endian program runs without a dynamic linker.
pub(crate) fn is_static(file: &[u8]) -> Result<bool> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let table = usize::try_from(u64::from_le_bytes(at(file, 0x20)?))?;
    let size = usize::from(u16::from_le_bytes(at(file, 0x36)?));
    let count = usize::from(u16::from_le_bytes(at(file, 0x38)?));
    for index in 0..count {
        if u32::from_le_bytes(at(file, table + index * size)?) == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

fn at<const SIZE: usize>(file: &[u8], offset: usize) -> Result<[u8; SIZE]> {
    let bytes = offset.checked_add(SIZE).and_then(|end| file.get(offset..end));
    Ok(bytes.context("the ELF file is cut off")?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one program header behind it.
    fn program(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 0x40];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 0x40;
        file[0x36] = 0x38;
        file[0x38] = 1;
        file.extend(kind.to_le_bytes());
        file
    }

    #[test]
    fn a_program_with_an_interpreter_is_dynamic() {
        assert!(!is_static(&program(PT_INTERP)).unwrap());
        assert!(is_static(&program(1)).unwrap());
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(is_static(b"#!/bin/sh").is_err());
        assert!(is_static(&program(1)[..0x41]).is_err());
    }
}
