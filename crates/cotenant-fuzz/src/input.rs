//! Bytes taken apart.

/// What is left of the bytes.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 behind the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        let bytes: [u8; 8] = std::array::from_fn(|_| self.byte());
        u64::from_le_bytes(bytes)
    }

    /// A place in something of this length.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        let place = u32::from_le_bytes(std::array::from_fn(|_| self.byte()));
        usize::try_from(place).unwrap_or_default() % length.max(1)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// As many texts as bytes between zeros give, the missing ones empty.
pub(crate) fn texts<const COUNT: usize>(bytes: &[u8]) -> [String; COUNT] {
    let mut parts = bytes.splitn(COUNT, |byte| *byte == 0);
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
