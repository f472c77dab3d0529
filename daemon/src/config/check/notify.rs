//! `[[notify]]`, checked.

use std::collections::BTreeSet;
use std::ops::Range;

use lettre::Address;
use retention_core::control::TEXT_BYTES_MAX;
use retention_core::event::notice::Thing;
use retention_core::notice::BEFORE_DAYS_MAX;
use toml::Spanned;

use super::server::{is_host, is_loopback, is_protected_url};
use super::{Check, KeepDone, is_name, parse_keep_done};
use crate::config::file::{self, Written};
use crate::config::{MailChannel, MailTls, NotifyChannel, NotifyKind, WebhookChannel};
use crate::diagnostics::Redacted;

/// Who reads a notice two weeks ahead can still do something.
const BEFORE_DAYS_DEFAULT: u16 = 14;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// RFC 8314 for implicit TLS, RFC 6409 for STARTTLS, RFC 5321 for this machine itself.
fn usual_port(tls: MailTls) -> u16 {
    match tls {
        MailTls::Implicit => 465,
        MailTls::StartTls => 587,
        MailTls::PlainLoopback => 25,
    }
}

impl Check<'_> {
    pub(super) fn channels(&mut self, written: Vec<Spanned<file::Notify>>) -> Option<Vec<NotifyChannel>> {
        let mut seen = BTreeSet::new();
        let mut recipients = BTreeSet::new();
        let checked: Vec<Option<NotifyChannel>> = written
            .into_iter()
            .map(|channel| {
                let span = channel.span();
                let channel = self.channel(channel)?;
                if !seen.insert(channel.name.clone()) {
                    self.problems.add(span.clone(), format!("another channel is already called `{}`", channel.name));
                }
                let is_new = |Redacted(recipient): &Redacted<String>| recipients.insert(recipient.clone());
                if !channel.recipient.as_ref().is_none_or(is_new) {
                    self.problems.add(span, "another channel is already for this recipient");
                }
                Some(channel)
            })
            .collect();
        checked.into_iter().collect()
    }

    fn channel(&mut self, written: Spanned<file::Notify>) -> Option<NotifyChannel> {
        let span = written.span();
        let mut channel = written.into_inner();
        let name = match channel.name.take() {
            Some(name) if is_name(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(name.span(), "a channel's name has letters, digits, '-', '_' or '.'"),
            None => self.channel_without("name", &span),
        };
        let recipient = channel.recipient.take();
        let things = self.things(channel.things.take(), recipient.is_some(), &span);
        let recipient = recipient.and_then(|recipient| self.recipient(&recipient));
        let before = match channel.before.take() {
            None => vec![BEFORE_DAYS_DEFAULT],
            Some(before) => before.into_iter().filter_map(|days| self.days(&days)).collect(),
        };
        let kind = match channel.kind.take() {
            None => self.channel_without("kind", &span),
            Some(kind) => self.belongs(*kind.get_ref(), &channel, &span).and_then(|()| match kind.into_inner() {
                file::NotifyKind::Mail => self.mail(channel, &span).map(Box::new).map(NotifyKind::Mail),
                file::NotifyKind::Webhook => self.webhook(channel, &span).map(NotifyKind::Webhook),
                file::NotifyKind::Program => self.program(channel.command, &span),
            }),
        };
        Some(NotifyChannel { name: name?, things, before, recipient, kind: kind? })
    }

    /// What people are told says nothing to a recipient, and that a person was told tells no recipient anything.
    fn things(&mut self, written: Option<Vec<Thing>>, for_recipient: bool, span: &Range<usize>) -> Vec<Thing> {
        let fits = |thing: &Thing| thing.is_for_recipients() == for_recipient;
        let mut things = written.unwrap_or_else(|| Thing::ALL.iter().copied().filter(fits).collect());
        if !things.iter().all(fits) {
            let message = match for_recipient {
                true => "a channel with `recipient` is told recipient_to_tell and nothing else: leave `things` out",
                false => "recipient_to_tell needs `recipient`: the name that is given when somebody gets a copy",
            };
            self.problems.add(span.clone(), message);
        }
        things.sort_unstable();
        things.dedup();
        things
    }

    fn recipient(&mut self, written: &Spanned<String>) -> Option<Redacted<String>> {
        let name = written.get_ref().trim();
        match name.is_empty() || name.len() > TEXT_BYTES_MAX {
            true => self.refuse(written.span(), "a recipient has the name that is given when somebody gets a copy"),
            false => Some(Redacted(name.to_owned())),
        }
    }

    fn days(&mut self, written: &Spanned<String>) -> Option<u16> {
        let days = match parse_keep_done(written.get_ref()) {
            Ok(KeepDone::For(length)) if length.as_secs().is_multiple_of(SECONDS_PER_DAY) => {
                u16::try_from(length.as_secs() / SECONDS_PER_DAY).ok()
            }
            _ => None,
        };
        days.filter(|days| (1..=BEFORE_DAYS_MAX).contains(days)).or_else(|| {
            let message = format!("write whole days such as \"P14D\", at most P{BEFORE_DAYS_MAX}D");
            self.refuse(written.span(), message)
        })
    }

    /// Refuses keys that say nothing for this kind of channel.
    fn belongs(&mut self, kind: file::NotifyKind, channel: &file::Notify, span: &Range<usize>) -> Option<()> {
        let mail = channel.host.is_some()
            || channel.port.is_some()
            || channel.tls.is_some()
            || channel.server_name.is_some()
            || channel.login.is_some()
            || channel.from.is_some()
            || !channel.to.is_empty();
        let webhook = channel.url.is_some() || channel.key.is_some();
        let program = channel.command.is_some();
        let (others, known) = match kind {
            file::NotifyKind::Mail => {
                (webhook || program, "host, port, tls, ca_file, server_name, login, from and to belong to mail")
            }
            file::NotifyKind::Webhook => (mail || program, "url, key and ca_file belong to a webhook"),
            file::NotifyKind::Program => {
                (mail || webhook || channel.ca_file.is_some(), "`command` alone belongs to a program")
            }
        };
        if others { self.refuse(span.clone(), known) } else { Some(()) }
    }

    fn mail(&mut self, channel: file::Notify, span: &Range<usize>) -> Option<MailChannel> {
        let host = match channel.host {
            Some(host) if is_host(host.get_ref()) => Some(host.into_inner()),
            Some(host) => self.refuse(host.span(), "not the name or address of a host; a port stands in `port`"),
            None => self.channel_without("host", span),
        };
        let tls = channel.tls.unwrap_or(MailTls::Implicit);
        if tls == MailTls::PlainLoopback && host.as_deref().is_some_and(|host| !is_loopback(host)) {
            self.problems.add(span.clone(), "tls = \"plain-loopback\" is for this machine itself");
        }
        let port = self.number_in(channel.port, &(1..=u64::from(u16::MAX)), u64::from(usual_port(tls)), "a port");
        let tls_name = match channel.server_name {
            Some(name) if is_host(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(name.span(), "not the name that a certificate can have"),
            None => host.clone(),
        };
        let ca_file = self.path(channel.ca_file);
        let login = channel.login.map(|login| self.login("whoever sends", login));
        let from = match channel.from {
            Some(from) => self.address(&from),
            None => self.channel_without("from", span),
        };
        let to: Vec<_> = channel.to.iter().map(|to| self.address(to)).collect();
        if to.is_empty() {
            return self.channel_without("to", span);
        }
        Some(MailChannel {
            host: host?,
            port: u16::try_from(port).ok()?,
            tls,
            ca_file,
            tls_name: tls_name?,
            login: login.map_or(Some(None), |login| login.map(Some))?,
            from: from?,
            to: to.into_iter().collect::<Option<_>>()?,
        })
    }

    fn address(&mut self, written: &Spanned<String>) -> Option<Redacted<String>> {
        match written.get_ref().parse::<Address>() {
            Ok(_) => Some(Redacted(written.get_ref().clone())),
            Err(_) => self.refuse(written.span(), "not an e-mail address: write it alone, such as \"dpo@example.org\""),
        }
    }

    fn webhook(&mut self, channel: file::Notify, span: &Range<usize>) -> Option<WebhookChannel> {
        let url = match channel.url {
            Some(url) if is_protected_url(url.get_ref()) => Some(Redacted(url.into_inner())),
            Some(url) => {
                self.refuse(url.span(), "a webhook has a URL with https://, or http:// on this machine itself")
            }
            None => self.channel_without("url", span),
        };
        let key = match channel.key {
            Some(key) => self.secret("the key of the signatures", key.span(), key.into_inner()),
            None => self.channel_without("key", span),
        };
        Some(WebhookChannel { url: url?, ca_file: self.path(channel.ca_file), key: key? })
    }

    fn program(&mut self, command: Written<Vec<String>>, span: &Range<usize>) -> Option<NotifyKind> {
        let Some(command) = command else { return self.channel_without("command", span) };
        let span = command.span();
        let mut command = command.into_inner();
        if !command.first().is_some_and(|program| program.starts_with('/')) {
            return self.refuse(span, "a command is [\"/…\", …] with an absolute path");
        }
        let program = command.remove(0);
        Some(NotifyKind::Program(program, command))
    }

    fn channel_without<T>(&mut self, key: &str, span: &Range<usize>) -> Option<T> {
        if !self.excused.contains(key) {
            self.problems.add(span.clone(), format!("this channel has no `{key}`"));
        }
        None
    }
}
