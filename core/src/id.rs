//! Names of things: newtypes that cannot be mixed up.
//!
//! A plan, a run, a saga and a request are named by the `Position` of the event that began them,
//! so a name is unique, ordered, and leads straight to its place in the log.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The number of an event in the event log. Starts at 1 and strictly increases; 0 means "none".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const NONE: Self = Self(0);

    /// Returns the position that follows this one. Nothing follows the last number there is: it stays, so that a
    /// damaged position that is read from disk is refused by comparison and never by a panic.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The dense number of an entity, which is also the number of its key slot.
///
/// **Invariant:** never used again, also after the entity was purged. It says nothing about the entity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "E1042")]
pub struct EntityId(pub u32);

impl EntityId {
    /// Returns the number as an index into a dense column.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{}", self.0)
    }
}

impl From<EntityId> for String {
    fn from(id: EntityId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for EntityId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

/// Returns entities ascending, each once.
#[must_use]
pub fn in_order(mut entities: Vec<EntityId>) -> Vec<EntityId> {
    entities.sort_unstable();
    entities.dedup();
    entities
}

/// A name could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}: expected a form like {example}")]
pub struct IdError {
    expected: &'static str,
    example: &'static str,
}

impl IdError {
    /// Names what was expected and an example of it.
    #[must_use]
    pub(crate) const fn of(expected: &'static str, example: &'static str) -> Self {
        Self { expected, example }
    }
}

impl FromStr for EntityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_prefixed(text, 'E')
            .and_then(|n| u32::try_from(n).ok())
            .map(Self)
            .ok_or(IdError { expected: "an entity", example: "E1042" })
    }
}

fn parse_prefixed(text: &str, prefix: char) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_prefix(prefix).or_else(|| text.strip_prefix(prefix.to_ascii_lowercase())).unwrap_or(text);
    digits.parse().ok()
}

macro_rules! position_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
        )]
        #[serde(into = "String", try_from = "String")]
        #[schema(value_type = String, example = $example)]
        pub struct $name(pub Position);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_prefixed(text, $prefix)
                    .map(|n| Self(Position(n)))
                    .ok_or(IdError { expected: $what, example: $example })
            }
        }
    };
}

position_id!(
    /// A plan: the position of the `PlanRequested` that asked for it.
    PlanId, 'P', "a plan", "P204"
);
position_id!(
    /// A run: the position of the `RunRequested` that asked for it.
    RunId, 'R', "a run", "R210"
);
position_id!(
    /// A saga: the position of its `SagaStarted`.
    SagaId, 'S', "a saga", "S212"
);
position_id!(
    /// A legal hold: the position of its `HoldPlaced`.
    HoldId, 'H', "a hold", "H99"
);
position_id!(
    /// A grant: the position of its `GrantRequested`.
    GrantId, 'G', "a grant", "G310"
);
position_id!(
    /// A request of a data subject: the position of its `SubjectRequested`.
    RequestId, 'Q', "a request of a data subject", "Q41"
);
position_id!(
    /// A review: the position of the `ReviewDecided` with which a person decided.
    ReviewId, 'V', "a review", "V230"
);
position_id!(
    /// A restriction of use: the position of its `RestrictionPlaced`.
    RestrictionId, 'X', "a restriction", "X17"
);

position_id!(
    /// A migration of a mailbox: the position of its `MigrationRequested`.
    MigrationId, 'M', "a migration", "M420"
);

/// The number of a column layout, in the order in which layouts were recorded; starts at 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct LayoutId(pub u32);

/// The name of a stream: 16 bytes that tell nothing about what the stream is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct StreamId(pub [u8; 16]);

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", hex::encode(self.0))
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(into = "String", try_from = "String")]
#[schema(value_type = String, example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Returns the first 12 hexadecimal digits, enough for a table.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes)
            .map(|()| Self(bytes))
            .map_err(|_| IdError { expected: "a SHA-256 digest", example: "64 hexadecimal digits" })
    }
}

impl TryFrom<String> for Digest {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

/// A keyed digest (HMAC-SHA-256, first 16 bytes) of a natural identifier.
///
/// **Invariant:** only this ever stands for a mailbox, an e-mail address or an external id outside a sealed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Handle(pub [u8; 16]);

impl Handle {
    /// The handle of nothing: a purged entity has it.
    pub const NONE: Self = Self([0; 16]);

    /// Returns eight of the handle's bytes, which are already uniformly distributed.
    #[must_use]
    pub fn hash(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_written() {
        assert_eq!("E1042".parse(), Ok(EntityId(1042)));
        assert_eq!("1042".parse(), Ok(EntityId(1042)));
        assert_eq!("p7".parse(), Ok(PlanId(Position(7))));
        assert_eq!(RunId(Position(9)).to_string(), "R9");
        assert!("E99999999999".parse::<EntityId>().is_err());
        assert!("R7".parse::<PlanId>().is_err());
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
