//! Which records are about a data subject, and why each of them is said to be.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Certainty, IdentifierKind, Whose};
use crate::id::EntityId;
use crate::record::Relation;

/// Why a record is said to be about a data subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "tie")]
pub enum Tie {
    /// It is the record of a person who has the identifier.
    Own {
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
    /// A person named it by its number.
    Named,
    /// It is the record of a person who has the identifier, and others in the same place have it too.
    Shared {
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
    /// It is about a record of the person and about nobody else.
    About {
        /// That record.
        record: EntityId,
    },
    /// It is about a record of the person, and about others too.
    AboutOthersToo {
        /// That record.
        record: EntityId,
    },
    /// It and a record of the person name each other.
    Associated {
        /// That record.
        record: EntityId,
    },
    /// The person wrote it, or it was written to the person.
    Correspondence {
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
    /// It names the person.
    Mention {
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
    /// An identifier may be the same: a number without its country, an id without its source.
    Alike {
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
    /// It has an identifier that was not asked for and that stands in a record of the person.
    Further {
        /// That record.
        record: EntityId,
        /// What kind of identifier.
        identifier: IdentifierKind,
    },
}

impl Tie {
    /// Says whether it alone makes a record one of the person. Everything else is for a person to include.
    #[must_use]
    pub fn is_sure(self) -> bool {
        match self {
            Self::Own { .. } | Self::Named | Self::About { .. } => true,
            Self::Shared { .. }
            | Self::AboutOthersToo { .. }
            | Self::Associated { .. }
            | Self::Correspondence { .. }
            | Self::Mention { .. }
            | Self::Alike { .. }
            | Self::Further { .. } => false,
        }
    }

    /// Returns what the tie is, for a mark that was found in a record.
    #[must_use]
    pub fn of_mark(identifier: IdentifierKind, certainty: Certainty, whose: Whose) -> Self {
        match (certainty, whose) {
            (Certainty::Possible, _) => Self::Alike { identifier },
            (Certainty::Certain, Whose::Own) => Self::Own { identifier },
            (Certainty::Certain, Whose::Correspondent) => Self::Correspondence { identifier },
            (Certainty::Certain, Whose::Mentioned) => Self::Mention { identifier },
        }
    }

    /// Returns a short text for a table.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Own { identifier } => format!("own {}", identifier.name()),
            Self::Named => "named".to_owned(),
            Self::Shared { identifier } => format!("shared {}", identifier.name()),
            Self::About { record } => format!("about {record}"),
            Self::AboutOthersToo { record } => format!("about {record} and others"),
            Self::Associated { record } => format!("associated with {record}"),
            Self::Correspondence { identifier } => format!("correspondence by {}", identifier.name()),
            Self::Mention { identifier } => format!("mention of {}", identifier.name()),
            Self::Alike { identifier } => format!("alike {}", identifier.name()),
            Self::Further { record, identifier } => format!("further {} of {record}", identifier.name()),
        }
    }
}

/// The records of a data subject, each with why it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    ties: BTreeMap<EntityId, BTreeSet<Tie>>,
}

impl Found {
    /// Notes a tie.
    pub fn tie(&mut self, entity: EntityId, tie: Tie) {
        self.ties.entry(entity).or_default().insert(tie);
    }

    /// Returns the records that are the person's own, ascending.
    #[must_use]
    pub fn own(&self) -> Vec<EntityId> {
        let is_own = |ties: &BTreeSet<Tie>| ties.iter().any(|tie| matches!(tie, Tie::Own { .. } | Tie::Named));
        self.ties.iter().filter(|(_, ties)| is_own(ties)).map(|(entity, _)| *entity).collect()
    }

    /// Records in one place that have the same identifier are those of several persons, or of one: nobody can tell.
    /// `place_of` says where a record lives.
    pub fn tell_shared<P: Ord>(&mut self, place_of: impl Fn(EntityId) -> P) {
        let mut places: BTreeMap<(P, IdentifierKind), Vec<EntityId>> = BTreeMap::new();
        for (record, ties) in &self.ties {
            for tie in ties {
                if let Tie::Own { identifier } = tie {
                    places.entry((place_of(*record), *identifier)).or_default().push(*record);
                }
            }
        }
        for ((_, identifier), records) in places.into_iter().filter(|(_, records)| records.len() > 1) {
            for record in records {
                let ties = self.ties.entry(record).or_default();
                ties.remove(&Tie::Own { identifier });
                ties.insert(Tie::Shared { identifier });
            }
        }
    }

    /// Follows the links of the person's own records, one step: `neighbours` says what each is tied to, and `abouts`
    /// what a record is about; `None`: that is not wholly known.
    ///
    /// # Errors
    /// The first of `abouts`.
    pub fn follow<E>(
        &mut self,
        neighbours: impl Fn(EntityId) -> Vec<(Relation, EntityId)>,
        abouts: impl Fn(EntityId) -> Result<Option<Vec<EntityId>>, E>,
    ) -> Result<(), E> {
        let own = self.own();
        for record in own.iter().copied() {
            for (relation, other) in neighbours(record) {
                let tie = match relation {
                    Relation::Associated => Tie::Associated { record },
                    Relation::About => match abouts(other)? {
                        Some(all) if all.iter().all(|about| own.binary_search(about).is_ok()) => Tie::About { record },
                        Some(_) | None => Tie::AboutOthersToo { record },
                    },
                };
                self.tie(other, tie);
            }
        }
        Ok(())
    }

    /// Takes every message that the person wrote or got by a certain address as theirs, as if each had been named: that
    /// is the word of a person, since it is about the others in it too.
    pub fn take_correspondence(&mut self) {
        for ties in self.ties.values_mut() {
            if ties.iter().any(|tie| matches!(tie, Tie::Correspondence { identifier: IdentifierKind::Email })) {
                ties.insert(Tie::Named);
            }
        }
    }

    /// Returns the records of which a tie is sure, ascending: what is taken as the person's without a further word.
    #[must_use]
    pub fn sure(&self) -> Vec<EntityId> {
        self.iter().filter(|(_, ties)| ties.iter().any(|tie| tie.is_sure())).map(|(entity, _)| entity).collect()
    }

    /// Leaves out the records that are not wanted.
    pub fn keep_only(&mut self, wanted: impl Fn(EntityId, &BTreeSet<Tie>) -> bool) {
        self.ties.retain(|entity, ties| wanted(*entity, ties));
    }

    /// Goes through all records, ascending, with their ties.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &BTreeSet<Tie>)> {
        self.ties.iter().map(|(entity, ties)| (*entity, ties))
    }
}
