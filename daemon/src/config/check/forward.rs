//! `[[audit.forward]]`, checked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::server::is_loopback;
use super::{Check, is_name};
use crate::config::file;
use crate::config::{ForwardFrom, ForwardPlace, ForwardTo};

/// Where systemd-journald listens: `systemd-journald.service(8)`.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";

/// Where a syslog daemon listens: `syslog(3)`.
const SYSLOG_SOCKET: &str = "/dev/log";

impl Check<'_> {
    pub(super) fn forwards(&mut self, written: Vec<Spanned<file::Forward>>) -> Option<Vec<ForwardTo>> {
        let mut seen = BTreeSet::new();
        let checked: Vec<Option<ForwardTo>> = written
            .into_iter()
            .map(|log| {
                let span = log.span();
                let log = self.forward(log)?;
                if !seen.insert(log.name.clone()) {
                    self.problems.add(span, format!("another log is already called `{}`", log.name));
                }
                Some(log)
            })
            .collect();
        checked.into_iter().collect()
    }

    fn forward(&mut self, written: Spanned<file::Forward>) -> Option<ForwardTo> {
        let span = written.span();
        let log = written.into_inner();
        let name = match log.name {
            // Beside the file that says how far a log was told lies one of that name while it is replaced.
            Some(name) if name.get_ref().ends_with(".tmp") => {
                self.refuse(name.span(), "a log's name does not end in .tmp")
            }
            Some(name) if is_name(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(name.span(), "a log's name has letters, digits, '-', '_' or '.'"),
            None => self.forward_without("name", &span),
        };
        let socket = match log.socket {
            Some(socket) => Some(self.path(Some(socket))?),
            None => None,
        };
        let to = match log.kind.map(Spanned::into_inner) {
            None => self.forward_without("kind", &span),
            Some(file::ForwardKind::Journald) if log.tcp.is_some() => {
                self.refuse(span, "systemd-journald takes messages on a socket, not over TCP")
            }
            Some(file::ForwardKind::Journald) => {
                Some(ForwardPlace::Journald(socket.unwrap_or_else(|| PathBuf::from(JOURNALD_SOCKET))))
            }
            Some(file::ForwardKind::Syslog) => match (socket, log.tcp) {
                (Some(_), Some(_)) => self.refuse(span, "a log is reached in one way: by `socket`, or by `tcp`"),
                (_, Some(tcp)) => self.tcp(tcp.span(), tcp.into_inner()),
                (socket, None) => {
                    Some(ForwardPlace::SyslogSocket(socket.unwrap_or_else(|| PathBuf::from(SYSLOG_SOCKET))))
                }
            },
        };
        Some(ForwardTo { name: name?, from: log.from.unwrap_or(ForwardFrom::Now), to: to? })
    }

    fn tcp(&mut self, span: Range<usize>, address: String) -> Option<ForwardPlace> {
        let parts = address.rsplit_once(':');
        let host = parts.map(|(host, _)| host.trim_matches(['[', ']']));
        let port = parts.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port > 0);
        match (host, port) {
            (Some(host), Some(_)) if is_loopback(host) => Some(ForwardPlace::SyslogTcp(address)),
            _ => self.refuse(
                span,
                "write \"127.0.0.1:PORT\": nothing protects these messages on a network; let the syslog daemon of this machine \
                 send them on, with TLS",
            ),
        }
    }

    fn forward_without<T>(&mut self, key: &str, span: &Range<usize>) -> Option<T> {
        if !self.excused.contains(key) {
            self.problems.add(span.clone(), format!("this log has no `{key}`"));
        }
        None
    }
}
