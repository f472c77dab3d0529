//! What a changed configuration may change while the daemon runs.

use std::fmt;

use super::{Config, ConfigError, overlap};

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once, with the reload.
    Live,
    /// Only when the daemon starts again; until then the old value stands.
    Restart,
}

/// A key whose value is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key as written, such as `store.state_dir` or `source.crm`.
    pub key: String,
    /// When it takes effect.
    pub reload: Reload,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reload {
            Reload::Live => write!(f, "{} changed", self.key),
            Reload::Restart => write!(f, "{} changed in the file; restart the daemon to use it", self.key),
        }
    }
}

impl Config {
    /// Returns every key that differs, in the order of the file.
    ///
    /// A source is one key: it is added, removed or changed as a whole, between two deliveries.
    #[must_use]
    pub fn changes(old: &Self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut compare = |key: &str, differs: bool, reload: Reload| {
            if differs {
                changes.push(Change { key: key.to_owned(), reload });
            }
        };
        let (was, is) = (&old.store, &new.store);
        compare("store.state_dir", was.state_dir != is.state_dir, Reload::Restart);
        compare("store.exports_dir", was.exports_dir != is.exports_dir, Reload::Restart);
        compare("store.root_key", was.root_key != is.root_key, Reload::Restart);
        compare("store.cache_bytes", was.cache_bytes != is.cache_bytes, Reload::Restart);
        compare("store.memory_max_bytes", was.memory_max_bytes != is.memory_max_bytes, Reload::Restart);
        compare("control.socket", old.control.socket != new.control.socket, Reload::Restart);
        let group_differs = old.control.socket_group != new.control.socket_group;
        compare("control.socket_group", group_differs, Reload::Restart);
        for ((role, was), (_, is)) in old.control.roles.all().into_iter().zip(new.control.roles.all()) {
            compare(&format!("control.roles.{role}"), was != is, Reload::Live);
        }
        compare("policies.dir", old.policies.dir != new.policies.dir, Reload::Restart);
        compare("policies.timezone", old.policies.timezone != new.policies.timezone, Reload::Live);
        for was in &old.sources {
            let is = new.sources.iter().find(|source| source.name == was.name);
            compare(&format!("source.{}", was.name), is != Some(was), Reload::Live);
        }
        for is in new.sources.iter().filter(|is| old.sources.iter().all(|was| was.name != is.name)) {
            compare(&format!("source.{}", is.name), true, Reload::Live);
        }
        for was in &old.servers {
            let is = new.servers.iter().find(|server| server.name == was.name);
            compare(&format!("server.{}", was.name), is != Some(was), Reload::Live);
        }
        for is in new.servers.iter().filter(|is| old.servers.iter().all(|was| was.name != is.name)) {
            compare(&format!("server.{}", is.name), true, Reload::Live);
        }
        compare("export.zone", old.export.zone != new.export.zone, Reload::Live);
        compare("export.csv_profile", old.export.csv_profile != new.export.csv_profile, Reload::Live);
        compare("subjects.encrypt_to", old.subjects != new.subjects, Reload::Live);
        let erasures = |config: &Self| config.backup.as_ref().and_then(|backup| backup.erasures.clone());
        let others = |config: &Self| config.backup.clone().map(|backup| super::Backup { erasures: None, ..backup });
        compare("audit.origin", old.origin != new.origin, Reload::Restart);
        compare("audit.publish", old.publish != new.publish, Reload::Restart);
        compare("audit.forward", old.forward != new.forward, Reload::Restart);
        compare("audit.witness", old.witnesses != new.witnesses, Reload::Restart);
        compare("notify", old.notify != new.notify, Reload::Restart);
        compare("backup", others(old) != others(new), Reload::Live);
        compare("backup.erasures", erasures(old) != erasures(new), Reload::Restart);
        compare("diagnostics.target", old.diagnostics.target != new.diagnostics.target, Reload::Restart);
        compare("diagnostics.level", old.diagnostics.level != new.diagnostics.level, Reload::Live);
        compare("metrics.serve", old.metrics != new.metrics, Reload::Live);
        changes
    }

    /// Returns the configuration that runs after a reload: what may change comes from `new`, the rest stays.
    ///
    /// # Errors
    /// Says when a new drop folder overlaps a directory that cannot change before a restart.
    pub fn reloaded(&self, new: &Self) -> Result<Self, ConfigError> {
        let mut config = new.clone();
        config.store = self.store.clone();
        config.control.socket.clone_from(&self.control.socket);
        config.control.socket_group.clone_from(&self.control.socket_group);
        config.policies.dir.clone_from(&self.policies.dir);
        config.origin.clone_from(&self.origin);
        config.publish.clone_from(&self.publish);
        config.forward.clone_from(&self.forward);
        config.witnesses.clone_from(&self.witnesses);
        config.notify.clone_from(&self.notify);
        if let (Some(new), Some(old)) = (&mut config.backup, &self.backup) {
            new.erasures.clone_from(&old.erasures);
        }
        config.diagnostics.target = self.diagnostics.target;
        match overlap::find(&config).into_iter().next() {
            None => Ok(config),
            Some((_, message)) => Err(ConfigError::of_file(
                &new.path,
                format!("restart the daemon to use this file: until then {message}"),
            )),
        }
    }
}
