//! The channels of `[[notify]]`.

use std::sync::Arc;

use retention_core::control::{ErrorBody, ErrorCode, NoticeTested};
use retention_core::notice::Text;
use retention_core::time::Timestamp;

use crate::clock::Clock;
use crate::config::{Config, NotifyChannel, NotifyKind};
use crate::connector::imap::Keys;
use crate::connector::notify::{Carrier, Letter, Mail, ProgramCarrier, Webhook};
use crate::connector::program::Program;
use crate::halt::Halt;
use crate::stage::notify::{ChannelOf, Notify, NotifyHealth, declare};
use crate::store::{AppendError, Store};

/// The stages, and what people ask of them.
#[derive(Default)]
pub(super) struct Notices {
    /// One for each channel.
    pub(super) stages: Vec<Notify>,
    /// How each channel stands, by name.
    pub(super) health: Vec<(String, NotifyHealth)>,
}

impl Notices {
    /// Records the channels of the configuration and makes a stage for each. Beside a damaged store nobody can be told:
    /// it could not be recorded.
    pub(super) fn open(
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
        config: &Config,
        keys: &Keys,
        halt: &Halt,
    ) -> Result<Self, AppendError> {
        if store.read_only_reason().is_some() {
            return Ok(Self::default());
        }
        let wanted: Vec<_> =
            config.notify.iter().map(|channel| (channel.name.clone(), channel.things.clone())).collect();
        declare(store, &wanted)?;
        let mut notices = Self::default();
        for channel in &config.notify {
            let of = ChannelOf {
                name: channel.name.clone(),
                before: channel.before.clone(),
                recipient: channel.recipient.clone(),
                carrier: carrier(channel, keys, halt),
            };
            let stage = Notify::new(Arc::clone(store), Arc::clone(clock), of);
            notices.health.push((channel.name.clone(), stage.health()));
            notices.stages.push(stage);
        }
        Ok(notices)
    }
}

/// What tests channels.
pub(super) struct Channels {
    pub(super) keys: Keys,
    pub(super) halt: Halt,
}

impl Channels {
    /// Sends a test through one of the channels. Each test is another one for the far side.
    pub(super) fn test(
        &self,
        channels: &[NotifyChannel],
        name: &str,
        now: Timestamp,
    ) -> Result<NoticeTested, ErrorBody> {
        let channel = channels.iter().find(|channel| channel.name == name).ok_or_else(|| {
            ErrorBody::saying(ErrorCode::NotFound, "the configuration has no channel of this name")
                .hint("[[notify]] in config.toml names the channels; a new one needs a restart")
        })?;
        let id = format!("notice_test_{}", now.0);
        let letter = Letter {
            id: id.clone(),
            channel: channel.name.clone(),
            thing: "test",
            name: format!("test/{}", now.0),
            at: now,
            text: Text { subject: "This is a test of notices".to_owned(), hint: String::new(), facts: Vec::new() },
        };
        let told = carrier(channel, &self.keys, &self.halt).deliver(&letter);
        Ok(NoticeTested { channel: letter.channel, id, code: told.err().map(|undelivered| undelivered.code) })
    }
}

fn carrier(channel: &NotifyChannel, keys: &Keys, halt: &Halt) -> Box<dyn Carrier> {
    match &channel.kind {
        NotifyKind::Program(program, arguments) => {
            Box::new(ProgramCarrier::of(Program::of(program.clone(), arguments.clone(), halt.clone())))
        }
        NotifyKind::Webhook(webhook) => Box::new(Webhook::to(webhook.clone(), Arc::clone(keys), halt.clone())),
        NotifyKind::Mail(mail) => Box::new(Mail::through((**mail).clone(), Arc::clone(keys), halt.clone())),
    }
}
