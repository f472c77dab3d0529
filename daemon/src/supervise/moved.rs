//! Mail servers that are elsewhere in a changed configuration, while something in their mailboxes has to be ended where
//! it was begun: access is taken back where it was given, and what was removed is looked for where it was.

use retention_core::id::EntityId;
use retention_core::view::{Condition, Views};

use crate::config::{Config, ConfigError};
use crate::store::Store;

/// Returns the configuration that runs after a reload.
///
/// # Errors
/// Says what keeps the new one from being taken in; the old one stays in force.
pub(super) fn reloaded(store: &Store, old: &Config, new: &Config) -> Result<Config, ConfigError> {
    match problem(store, old, new) {
        Some(message) => Err(ConfigError::of_file(&new.path, message)),
        None => old.reloaded(new),
    }
}

/// Says which server of the old configuration may not be elsewhere yet, if any is.
pub(super) fn problem(store: &Store, old: &Config, new: &Config) -> Option<String> {
    old.servers.iter().find_map(|was| {
        let is = new.servers.iter().find(|server| server.name == was.name);
        if is.is_some_and(|is| is.host.eq_ignore_ascii_case(&was.host)) {
            return None;
        }
        let (mailbox, what) = store.view(|views| begun_on(views, &was.name))?;
        Some(format!(
            "server {} is taken out or has another host, while {what} in {mailbox}, which has to be ended where it was begun: \
             end it first; the file is then taken in. Where it is the same server under another name, restart the daemon",
            was.name
        ))
    })
}

/// Returns a mailbox of a server in which something is not over, and what.
fn begun_on(views: &Views, server: &str) -> Option<(EntityId, &'static str)> {
    let small = &views.small;
    small.registry.iter().filter(|(_, known)| known.server == server).find_map(|(mailbox, _)| {
        if small.grants.open().any(|(_, grant)| grant.mailbox == mailbox && grant.may_be_there()) {
            Some((mailbox, "a grant is not over"))
        } else if Condition::NotMigrating(mailbox).check(views).is_err() {
            Some((mailbox, "a migration is not over"))
        } else if Condition::NotPurging(mailbox).check(views).is_err() {
            Some((mailbox, "a run removes messages"))
        } else {
            None
        }
    })
}
