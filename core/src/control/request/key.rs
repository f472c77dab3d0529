//! Keys of the store itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::key::StoreKeys;

/// A request for new keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    /// Which.
    pub keys: StoreKeys,
    /// Why.
    pub reason: String,
}
