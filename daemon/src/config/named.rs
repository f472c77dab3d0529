//! The files that a configuration names beside mappings and policies: certificate authorities and secrets.
//!
//! They are read when they are needed, so that a certificate or a password can be replaced while the daemon runs. So one that
//! is not there yet is no error of the configuration, and whoever checks it may be somebody else than the daemon: it is told.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{Config, NotifyKind, PublishTo, SecretPlace};

/// A file that cannot be read here and now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read here and now ({why}); whatever needs it fails until it can")]
pub struct NamedFileProblem {
    /// What it is.
    what: String,
    /// Why not.
    why: String,
}

/// Returns the files that are named and cannot be read, in the order of the configuration. Credentials are given by systemd and
/// are no files that anybody names.
#[must_use]
pub fn named_file_problems(config: &Config) -> Vec<(PathBuf, NamedFileProblem)> {
    let mut problems = Vec::new();
    let mut look = |what: String, path: &Path| {
        if let Err(why) = readable(path) {
            problems.push((path.to_owned(), NamedFileProblem { what, why }));
        }
    };
    let ca = |of: &str| format!("the ca_file of {of}");
    for server in &config.servers {
        let of = format!("[[server]] {}", server.name);
        if let Some(path) = &server.ca_file {
            look(ca(&of), path);
        }
        if let Some(SecretPlace::File(path)) = server.admin.as_ref().map(|admin| &admin.credential) {
            look(format!("the password of the admin of {of}"), path);
        }
        if let Some(doveadm) = &server.doveadm {
            if let Some(path) = &doveadm.ca_file {
                look(ca(&format!("doveadm of {of}")), path);
            }
            if let SecretPlace::File(path) = &doveadm.key {
                look(format!("the key of doveadm of {of}"), path);
            }
        }
    }
    for place in &config.publish {
        if let PublishTo::Web(_, Some(path)) = place {
            look(ca("a place of `publish`"), path);
        }
    }
    for witness in &config.witnesses {
        if let Some(path) = &witness.ca_file {
            look(ca(&format!("the witness {}", witness.name)), path);
        }
    }
    for channel in &config.notify {
        let of = format!("[[notify]] {}", channel.name);
        let (ca_file, secret, what) = match &channel.kind {
            NotifyKind::Mail(mail) => {
                (mail.ca_file.as_ref(), mail.login.as_ref().map(|login| &login.credential), "password of")
            }
            NotifyKind::Webhook(web) => (web.ca_file.as_ref(), Some(&web.key), "key of"),
            NotifyKind::Program(..) => (None, None, ""),
        };
        if let Some(path) = ca_file {
            look(ca(&of), path);
        }
        if let Some(SecretPlace::File(path)) = secret {
            look(format!("the {what} {of}"), path);
        }
    }
    problems
}

/// Opens a file for reading and reads nothing. A directory opens and cannot be read; a pipe is not opened, since whoever
/// opens it waits for what comes, and whoever needs the file refuses it.
fn readable(path: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.kind().to_string();
    let found = std::fs::metadata(path).map_err(told)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.to_string());
    }
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    File::open(path).map(drop).map_err(told)
}
