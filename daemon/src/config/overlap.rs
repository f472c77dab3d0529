//! Directories that must not lie inside one another: the daemon would take in its own exports or keys, or purge its own
//! store.

use std::iter;
use std::path::{Component, Path, PathBuf};

use retention_core::time::Timestamp;

use super::{Backup, Config, PublishTo, SecretPlace, SourceKind};

/// The one directory of bundles that may lie in the state directory: `docs/operations.md` lists it there.
const EXPORTS: &str = "exports";

const LEDGER: &str = "`backup.erasures`";

/// When times of a schedule are begun to be looked at: the time between two of them is the same whenever that is.
const SOME_TIME: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

/// How many are looked at: more than have the short months and the long ones among them.
const TIMES_LOOKED_AT: usize = 100;

/// Returns what overlaps: the number of the source that is to blame, if one is, and what to do.
pub(super) fn find(config: &Config) -> Vec<(Option<usize>, String)> {
    let mut found = Vec::new();
    let store = &config.store;
    let state = real(&store.state_dir);
    let exports = real(&store.exports_dir);
    let own =
        [("store.state_dir", &state), ("store.exports_dir", &exports), ("policies.dir", &real(&config.policies.dir))];
    if overlaps(&state, &exports) && exports != state.join(EXPORTS) {
        found.push((None, "`store.exports_dir` must lie outside `store.state_dir`, or be its `exports`".to_owned()));
    }
    if let SecretPlace::File(file) = &store.root_key
        && [&state, &exports].iter().any(|directory| real(file).starts_with(directory))
    {
        let message = "the file of `store.root_key` must lie outside `store.state_dir` and `store.exports_dir`: \
                       who copies the data must not copy its key with it";
        found.push((None, message.to_owned()));
    }
    if let Some(backup) = &config.backup {
        let (dir, keys) = (real(&backup.dir), real(&backup.keys_dir));
        if overlaps(&dir, &keys) {
            let message = "`backup.dir` and `backup.keys_dir` must not lie inside one another: whoever has the copies of \
                           the log must not have the keys with them";
            found.push((None, message.to_owned()));
        }
        for (key, directory) in [("backup.dir", &dir), ("backup.keys_dir", &keys)] {
            let drops = config.sources.iter().map(|source| real(&source.drop_dir));
            let taken: Vec<PathBuf> = own.iter().map(|(_, own)| (*own).clone()).chain(drops).collect();
            if taken.iter().any(|other| overlaps(directory, other)) {
                let message =
                    format!("`{key}` must lie outside every other directory of the daemon, best on another disk");
                found.push((None, message));
            }
        }
        if let Some(file) = &backup.erasures
            && [&state, &dir, &keys].iter().any(|directory| real(file).starts_with(directory))
        {
            let message = "`backup.erasures` must lie outside the store and its backups, on another machine if it can be: \
                           it says who must not come back with them";
            found.push((None, message.to_owned()));
        }
    }
    for (index, source) in config.sources.iter().enumerate() {
        let drop_dir = real(&source.drop_dir);
        let mut files = vec![("configuration", &config.path)];
        if let SecretPlace::File(file) = &store.root_key {
            files.push(("`store.root_key`", file));
        }
        files.extend(config.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Csv { mapping, .. } | SourceKind::Xlsx { mapping } => Some(("`mapping`", mapping)),
            SourceKind::Ocm => None,
        }));
        for (what, _) in files.iter().filter(|(_, file)| real(file).starts_with(&drop_dir)) {
            let message = format!(
                "the file of the {what} must lie outside `drop_dir`: whatever lies there is taken away as a delivery, and \
                 destroyed in time"
            );
            found.push((Some(index), message));
        }
        for (key, directory) in &own {
            if overlaps(&drop_dir, directory) {
                let message = format!("`drop_dir` and `{key}` must not lie inside one another");
                found.push((Some(index), message));
            }
        }
        let earlier = config.sources.iter().take(index);
        for other in earlier.filter(|other| overlaps(&drop_dir, &real(&other.drop_dir))) {
            let message = format!("`drop_dir` lies inside that of the source `{}`, or it inside this one", other.name);
            found.push((Some(index), message));
        }
    }
    found.extend(written(config).into_iter().map(|message| (None, message)));
    let others: Vec<PathBuf> = own.iter().map(|(_, own)| (*own).clone()).collect();
    found.extend(batches(config, others).into_iter().map(|message| (None, message)));
    found
}

/// Returns, in sentences, what lies where it should not, or not for as long as it should, and does no harm as long as
/// nothing else happens. A daemon that did not start because of it would take no access back that it has given: so it is
/// told, and not refused.
#[must_use]
pub fn unwise_places(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let [state, exports, policies] =
        [&config.store.state_dir, &config.store.exports_dir, &config.policies.dir].map(|own| real(own));
    if [&state, &exports].into_iter().any(|directory| overlaps(&policies, directory)) {
        let message = "`policies.dir` should lie outside `store.state_dir` and `store.exports_dir`, and they outside it: \
                       a lost store takes the policies with it";
        found.push(message.to_owned());
    }
    let mut copies = config.backup.iter().flat_map(|backup| [real(&backup.dir), real(&backup.keys_dir)]);
    if let SecretPlace::File(file) = &config.store.root_key
        && copies.any(|directory| real(file).starts_with(directory))
    {
        let message = "the file of `store.root_key` should lie outside `backup.dir` and `backup.keys_dir`: \
                       who has the copies of the keys has what opens them";
        found.push(message.to_owned());
    }
    for (what, file) in written_files(config) {
        if [&state, &exports, &policies].into_iter().any(|directory| file.starts_with(directory)) {
            found.push(format!(
                "{what} should lie outside the store, `store.exports_dir` and `policies.dir`: it is lost with them"
            ));
        }
    }
    if config.backup.as_ref().is_some_and(has_times_without_keys) {
        let message = "`backup.keep_keys` should be longer than the time between two backups of `backup.schedule`: once the \
                       copies of the keys are gone, no backup can be brought back until the next is made";
        found.push(message.to_owned());
    }
    found
}

/// Says whether the keys of a scheduled backup are over before the next one is made.
fn has_times_without_keys(backup: &Backup) -> bool {
    let Some(schedule) = &backup.schedule else { return false };
    let next = |at: &Timestamp| schedule.next_after(*at);
    let times = || iter::successors(next(&SOME_TIME), next).take(TIMES_LOOKED_AT);
    times().zip(times().skip(1)).any(|(made_at, then)| made_at.after(backup.keep_keys) < then)
}

/// Returns the files that the daemon writes whatever lies there, each with what it is.
fn written_files(config: &Config) -> impl Iterator<Item = (&'static str, PathBuf)> {
    let ledger = config.backup.as_ref().and_then(|backup| backup.erasures.as_ref());
    let published = config.publish.iter().filter_map(|place| match place {
        PublishTo::File(file) => Some(("a file of `audit.publish`", real(file))),
        PublishTo::Command(..) | PublishTo::Web(..) | PublishTo::Journal => None,
    });
    ledger.map(|file| (LEDGER, real(file))).into_iter().chain(published)
}

/// Says which files that the daemon writes would overwrite something else, or lie where something is taken in. Each is
/// written whatever lies there.
fn written(config: &Config) -> Vec<String> {
    let mut others = vec![("configuration", real(&config.path))];
    if let SecretPlace::File(file) = &config.store.root_key {
        others.push(("root key", real(file)));
    }
    others.extend(config.sources.iter().filter_map(|source| match &source.kind {
        SourceKind::Csv { mapping, .. } | SourceKind::Xlsx { mapping } => Some(("mapping", real(mapping))),
        SourceKind::Ocm => None,
    }));
    let mut directories: Vec<PathBuf> = config.sources.iter().map(|source| real(&source.drop_dir)).collect();
    directories.extend(config.servers.iter().filter_map(|server| server.batches.as_deref().map(real)));
    let mut found = Vec::new();
    for (what, file) in written_files(config) {
        if let Some((other, _)) = others.iter().find(|(_, other)| *other == file) {
            found.push(format!("{what} is the file of the {other}, which would be overwritten"));
        }
        if directories.iter().any(|directory| file.starts_with(directory)) {
            found.push(format!("{what} must lie outside every folder in which something is dropped"));
        }
        // Nothing may be written over the ledger; the others may be told in one file.
        if what == LEDGER {
            others.push(("ledger of erasures", file));
        }
    }
    found
}

/// Says which folders of migration batches overlap with another directory, or with that of another server.
fn batches(config: &Config, mut others: Vec<PathBuf>) -> Vec<String> {
    others.extend(config.sources.iter().map(|source| real(&source.drop_dir)));
    others.extend(config.backup.iter().flat_map(|backup| [real(&backup.dir), real(&backup.keys_dir)]));
    let mut found = Vec::new();
    for server in &config.servers {
        let Some(folder) = server.batches.as_deref().map(real) else { continue };
        if others.iter().any(|other| overlaps(&folder, other)) {
            found.push(format!(
                "`batches` of the server `{}` must lie outside every other directory of the daemon, and be of this server \
                 alone: what lies there holds passwords and is destroyed",
                server.name
            ));
        }
        others.push(folder);
    }
    found
}

fn overlaps(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Follows symbolic links as far as the path exists, so that two names of one directory are seen to be one.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
    }
    path.to_owned()
}

/// Takes `.` and `..` out of an absolute path, by its text alone.
pub(super) fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(component),
        }
    }
    clean
}
