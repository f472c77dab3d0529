//! Who has which role, told to the log: with each start, before a changed configuration comes into force, and when the
//! accounts of the machine have changed who is meant.
//!
//! Roles decide who may approve, and the configuration is no part of the log. So an auditor reads here who had which
//! role when.

use parking_lot::Mutex;
use retention_core::event::Event;
use retention_core::event::operation::RolesDeclared;

use crate::config::Config;
use crate::control::{self, Accounts};

/// What one life of the daemon has told the log of roles.
#[derive(Default)]
pub(super) struct DeclaredRoles {
    told: Mutex<Option<RolesDeclared>>,
}

impl DeclaredRoles {
    /// Tells who has which role under a configuration, unless that was told.
    ///
    /// # Errors
    /// As `tell` does; then nothing counts as told.
    pub(super) fn declare<E>(&self, config: &Config, tell: impl FnOnce(Event) -> Result<(), E>) -> Result<(), E> {
        let accounts = Accounts::read().ok();
        let now = control::declared(config.digest, &config.control.roles, accounts.as_ref());
        let mut told = self.told.lock();
        if told.as_ref() == Some(&now) {
            return Ok(());
        }
        tell(Event::RolesDeclared(now.clone()))?;
        *told = Some(now);
        Ok(())
    }
}
