//! Ids and counts, each with a type of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The greatest integer that JSON carries exactly, 2^53 − 1.
pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// Declares a newtype over `i64` for one kind of count.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text.parse::<i64>() {
                    Ok(number) if (0..=MAX_INTEGER).contains(&number) => Ok(Self(number)),
                    _ => Err(Error::invalid(format!(
                        "`{}` is not a whole number from 0 to 2^53-1",
                        crate::name::shown(text)
                    ))),
                }
            }
        }
    )*};
}

counts! {
    /// The number of an event; gapless from 1.
    Seq;
    /// The number of the event that last wrote a key.
    Rev;
    /// The number of a grant, ever greater over the whole store: a fencing token.
    Fence;
    /// The store's clock in milliseconds; the only clock that decides.
    Tick;
    /// A task: the number of the event that added it.
    TaskId;
}

/// Checks that a number can be a count: 0 to 2^53−1.
pub fn check_count(what: &str, number: i64) -> Result<()> {
    if (0..=MAX_INTEGER).contains(&number) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is {number}; it must be a whole number from 0 to 2^53-1")))
}

/// The id of a session: a `UUIDv7` in lower case, drawn by the store.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct SessionId(pub String);

impl std::fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text has the form of an id.
pub fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Makes a `UUIDv7` from wall time and random bytes.
pub fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> String {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_lower_case_uuid() {
        let id = uuid_v7(1_700_000_000_000, [7; 10]);
        assert!(is_id(&id), "{id}");
        assert!(!is_id(&id.to_uppercase()));
        assert!(!is_id("../../../../etc/passwd-0000-00000000"));
    }

    #[test]
    fn a_count_is_not_negative_and_fits_json() {
        assert_eq!("7".parse::<Fence>().unwrap(), Fence(7));
        assert!("-1".parse::<Fence>().is_err());
        assert!("9007199254740992".parse::<Fence>().is_err());
    }
}
