//! What can happen to a file while nobody looks.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::storm::random::Random;

/// The pages of a database, and the unit of the larger kinds of damage.
const PAGE: usize = 4096;
/// So many equal letters are a text.
const LETTERS: usize = 8;
/// Where a database says which versions may read and write it.
const DATABASE_VERSIONS: std::ops::Range<usize> = 18..20;
/// Where other files say what they are.
const STAMP: std::ops::Range<usize> = 0..16;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    /// A few bits are other ones.
    Flips,
    /// A letter of a text is another one, which no structure shows.
    Letter,
    /// The end is gone.
    Truncated,
    /// There is nothing in it.
    Empty,
    /// A page holds zeros.
    Zeroed,
    /// Two pages have changed places.
    Swapped,
    /// A page holds anything.
    Scribbled,
    /// All of it is anything.
    Garbage,
    /// It says that it is of another version.
    Version,
    /// It is not there.
    Gone,
}

impl Damage {
    /// All of them. The one that leaves most traps comes more often.
    pub(super) const ALL: [Self; 12] = [
        Self::Flips,
        Self::Letter,
        Self::Letter,
        Self::Letter,
        Self::Truncated,
        Self::Empty,
        Self::Zeroed,
        Self::Swapped,
        Self::Scribbled,
        Self::Garbage,
        Self::Version,
        Self::Gone,
    ];

    /// Does it. Answers whether the file is another one now.
    pub(super) fn strike(self, file: &Path, random: &mut Random) -> Result<bool> {
        let before = fs::read(file)?;
        if self == Self::Gone {
            fs::remove_file(file)?;
            return Ok(true);
        }
        let mut bytes = before.clone();
        self.change(&mut bytes, file, random);
        fs::write(file, &bytes)?;
        Ok(bytes != before)
    }

    fn change(self, bytes: &mut Vec<u8>, file: &Path, random: &mut Random) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let pages = length.div_ceil(PAGE);
        let page = |number: usize| number * PAGE..length.min((number + 1) * PAGE);
        match self {
            Self::Flips => {
                for _ in 0..=random.below(8) {
                    bytes[random.index(length)] ^= 1 << random.below(8);
                }
            }
            Self::Letter => {
                let is_text = |part: &[u8]| part.iter().all(|letter| *letter == part[0]);
                let begins = |part: &[u8]| part[0].is_ascii_lowercase() && is_text(part);
                let places: Vec<usize> = bytes
                    .windows(LETTERS)
                    .enumerate()
                    .filter_map(|(place, part)| begins(part).then_some(place))
                    .collect();
                if !places.is_empty() {
                    bytes[*random.pick(&places)] ^= 1;
                }
            }
            Self::Truncated => bytes.truncate(random.index(length)),
            Self::Empty => bytes.clear(),
            Self::Zeroed => bytes[page(random.index(pages))].fill(0),
            Self::Swapped => {
                let (one, other) = (page(random.index(pages)), page(random.index(pages)));
                let shorter = one.len().min(other.len());
                for index in 0..shorter {
                    bytes.swap(one.start + index, other.start + index);
                }
            }
            Self::Scribbled => scribble(&mut bytes[page(random.index(pages))], random),
            Self::Garbage => scribble(bytes, random),
            Self::Version => {
                let is_database = file.extension().is_some_and(|ending| ending == "db");
                let place = if is_database { DATABASE_VERSIONS } else { STAMP };
                let end = place.end.min(length);
                bytes[place.start.min(end)..end].fill(3);
            }
            Self::Gone => {}
        }
    }
}

fn scribble(bytes: &mut [u8], random: &mut Random) {
    for byte in bytes {
        *byte = u8::try_from(random.below(256)).unwrap_or_default();
    }
}
