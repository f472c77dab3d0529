//! Directories that must not lie inside one another: the daemon would take in its own exports or keys, or purge its own
//! store.

use std::path::{Component, Path, PathBuf};

use super::{Config, SecretPlace, SourceKind};

/// The one directory of bundles that may lie in the state directory: `docs/operations.md` lists it there.
const EXPORTS: &str = "exports";

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
    let others: Vec<PathBuf> = own.iter().map(|(_, own)| (*own).clone()).collect();
    found.extend(batches(config, others).into_iter().map(|message| (None, message)));
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
