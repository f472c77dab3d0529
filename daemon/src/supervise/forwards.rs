//! The logs of `[[audit.forward]]`.

use std::sync::Arc;

use retention_core::forward::syslog::Sender;

use crate::clock::Clock;
use crate::config::{ForwardPlace, ForwardTo};
use crate::connector::forward::{Form, SocketLog, Way};
use crate::stage::forward::Forward;
use crate::store::Store;

/// Returns what tells them of the log of this name, in the order of the configuration.
pub(super) fn forwards(logs: &[ForwardTo], origin: &str, store: &Arc<Store>, clock: &Arc<dyn Clock>) -> Vec<Forward> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let sender = Sender { host, process: std::process::id() };
    let forward = |log: &ForwardTo| {
        let (form, way) = match &log.to {
            ForwardPlace::Journald(path) => (Form::Journald, Way::Datagram(path.clone())),
            ForwardPlace::SyslogSocket(path) => (Form::Syslog(sender.clone()), Way::Datagram(path.clone())),
            ForwardPlace::SyslogTcp(address) => (Form::Syslog(sender.clone()), Way::Tcp(address.clone())),
        };
        let told = Box::new(SocketLog::new(origin.to_owned(), form, way));
        Forward::new(Arc::clone(store), Arc::clone(clock), log.name.clone(), log.from, told)
    };
    logs.iter().map(forward).collect()
}
