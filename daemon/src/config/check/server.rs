//! `[[server]]`, checked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use retention_core::mailbox::LoginForm;
use toml::Spanned;

use super::{Check, NAME_BYTES_MAX, is_name};
use crate::config::file;
use crate::config::{Doveadm, MailAdmin, MailServer, MailTls};

/// What servers usually allow one address is ten to a few hundred.
const CONNECTIONS: std::ops::RangeInclusive<u64> = 1..=200;
const CONNECTIONS_DEFAULT: u64 = 8;

/// The longest name of a host, RFC 1035, 2.3.4.
const HOST_BYTES_MAX: usize = 253;

impl Check<'_> {
    pub(super) fn servers(&mut self, written: Vec<Spanned<file::Server>>) -> Option<Vec<Arc<MailServer>>> {
        let mut seen = BTreeSet::new();
        let checked: Vec<Option<Arc<MailServer>>> = written
            .into_iter()
            .map(|server| {
                let span = server.span();
                let server = self.server(server)?;
                if !seen.insert(server.name.clone()) {
                    self.problems.add(span, format!("another server is already called `{}`", server.name));
                }
                Some(Arc::new(server))
            })
            .collect();
        checked.into_iter().collect()
    }

    fn server(&mut self, written: Spanned<file::Server>) -> Option<MailServer> {
        let span = written.span();
        let server = written.into_inner();
        let name = match server.name {
            Some(name) if is_name(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(
                name.span(),
                format!(
                    "a server's name has 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.', and starts with none of these signs"
                ),
            ),
            None => self.server_without("name", span.clone(), ""),
        };
        let host = match server.host {
            Some(host) if is_host(host.get_ref()) => Some(host.into_inner()),
            Some(host) => self.refuse(host.span(), "not the name or address of a host; a port stands in `port`"),
            None => self.server_without("host", span.clone(), ": where the mail server is"),
        };
        let tls = server.tls.unwrap_or(MailTls::Implicit);
        if tls == MailTls::PlainLoopback && host.as_deref().is_some_and(|host| !is_loopback(host)) {
            self.problems.add(
                span.clone(),
                "tls = \"plain-loopback\" is for this machine itself (localhost, 127.0.0.1, ::1); write \"implicit\" or \"starttls\"",
            );
        }
        let port = self.number_in(server.port, &(1..=u64::from(u16::MAX)), u64::from(tls.usual_port()), "a port");
        let max_connections = self.number_in(server.max_connections, &CONNECTIONS, CONNECTIONS_DEFAULT, "a number");
        let tls_name = match server.server_name {
            Some(name) if is_host(name.get_ref()) => Some(name.into_inner()),
            Some(name) => self.refuse(name.span(), "not the name that a certificate can have"),
            None => host.clone(),
        };
        let ca_file = self.path(server.ca_file);
        let batches = self.path(server.batches);
        let form = self.form(server.login, server.separator, server.domain);
        let admin = server.admin.map(|admin| self.login("the admin", admin));
        let doveadm = server.doveadm.map(|doveadm| self.doveadm(doveadm));
        let form = form?;
        if form != LoginForm::OwnPassword && form != LoginForm::XOAuth2 && admin.is_none() {
            self.problems.add(
                span,
                format!("login = \"{form}\" needs an admin: admin = {{ login = \"…\", credential = \"…\" }}"),
            );
        }
        Some(MailServer {
            name: name?,
            host: host?,
            port: u16::try_from(port).ok()?,
            tls,
            ca_file,
            tls_name: tls_name?,
            max_connections: usize::try_from(max_connections).ok()?,
            form,
            admin: admin.map_or(Some(None), |admin| admin.map(Some))?,
            doveadm: doveadm.map_or(Some(None), |doveadm| doveadm.map(Some))?,
            batches,
        })
    }

    fn form(
        &mut self,
        login: Option<Spanned<String>>,
        separator: Option<Spanned<String>>,
        domain: Option<Spanned<String>>,
    ) -> Option<LoginForm> {
        let form = match login {
            None => LoginForm::OwnPassword,
            Some(word) => match word.get_ref().parse() {
                Ok(form) => form,
                Err(_) => {
                    let known = LoginForm::ALL.map(|form| form.word()).join(", ");
                    return self.refuse(word.span(), format!("unknown login form; known here: {known}"));
                }
            },
        };
        match (form, separator, domain) {
            (LoginForm::DovecotMaster { .. }, Some(separator), None) => {
                let mut chars = separator.get_ref().chars();
                match (chars.next(), chars.next()) {
                    (Some(separator), None) if separator.is_ascii_punctuation() => {
                        Some(LoginForm::DovecotMaster { separator })
                    }
                    _ => self.refuse(separator.span(), "a separator is one sign, as auth_master_user_separator has it"),
                }
            }
            (LoginForm::Exchange { .. }, None, Some(domain)) if !domain.get_ref().is_empty() => {
                Some(LoginForm::Exchange { domain: domain.into_inner() })
            }
            (LoginForm::Exchange { .. }, _, domain) => {
                let span = domain.map_or(0..0, |domain| domain.span());
                self.refuse(span, "login = \"exchange\" needs the `domain` of Domain/Admin/User")
            }
            (_, Some(separator), _) => {
                self.refuse(separator.span(), "`separator` belongs to login = \"dovecot-master\"")
            }
            (_, None, Some(domain)) => self.refuse(domain.span(), "`domain` belongs to login = \"exchange\""),
            (form, None, None) => Some(form),
        }
    }

    /// Somebody who logs in, by name and secret. `who` is how messages call them.
    pub(super) fn login(&mut self, who: &str, written: Spanned<file::Admin>) -> Option<MailAdmin> {
        let span = written.span();
        let login = written.into_inner();
        let secret = file::Secret { credential: login.credential, file: login.file };
        let credential = self.secret(&format!("the password of {who}"), span.clone(), secret);
        let name = match login.login {
            Some(name) if !name.is_empty() => Some(name),
            _ => self.refuse(span, format!("{who} needs a `login` name")),
        };
        Some(MailAdmin { login: name?, credential: credential? })
    }

    fn doveadm(&mut self, written: Spanned<file::Doveadm>) -> Option<Doveadm> {
        let span = written.span();
        let doveadm = written.into_inner();
        let secret = file::Secret { credential: doveadm.credential, file: doveadm.file };
        let key = self.secret("the key of doveadm", span.clone(), secret);
        let ca_file = self.path(doveadm.ca_file);
        let url = match doveadm.url {
            Some(url) if is_protected_url(&url) => Some(url),
            _ => self.refuse(span.clone(), "doveadm needs a `url`: https://…, or http:// on this machine itself"),
        };
        // Which of the two it is says the URL; nobody sends names and a key in plain without having said so.
        let tls = doveadm.tls;
        match url.as_ref().map(|url| url.starts_with("https://")) {
            Some(true) => {
                if let Some(tls) = tls.filter(|tls| *tls.get_ref() != MailTls::Implicit) {
                    self.problems.add(tls.span(), "an https:// url begins with TLS: leave `tls` out");
                }
            }
            Some(false) if tls.as_ref().is_none_or(|tls| *tls.get_ref() != MailTls::PlainLoopback) => {
                self.problems.add(
                    span,
                    "an http:// url of doveadm sends names and its key in plain: write https://, or add tls = \"plain-loopback\"",
                );
            }
            Some(false) if ca_file.is_some() => {
                self.problems.add(span, "`ca_file` of doveadm belongs to an https:// url");
            }
            Some(false) | None => {}
        }
        Some(Doveadm { url: url?, ca_file, key: key? })
    }

    pub(super) fn number_in(
        &mut self,
        written: Option<Spanned<u64>>,
        range: &std::ops::RangeInclusive<u64>,
        default: u64,
        what: &str,
    ) -> u64 {
        let Some(number) = written else { return default };
        if !range.contains(number.get_ref()) {
            let message = format!("out of range: write {what} from {} to {}", range.start(), range.end());
            self.problems.add(number.span(), message);
        }
        number.into_inner()
    }

    fn server_without<T>(&mut self, key: &str, span: Range<usize>, what: &str) -> Option<T> {
        if !self.excused.contains(key) {
            self.problems.add(span, format!("this server has no `{key}`{what}"));
        }
        None
    }
}

/// Only an address has colons: what stands behind one is otherwise a port, which has a key of its own.
pub(super) fn is_host(text: &str) -> bool {
    (1..=HOST_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_'))
        && (!text.contains(':') || text.parse::<std::net::Ipv6Addr>().is_ok())
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn is_protected_url(url: &str) -> bool {
    let of_this_machine = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        // The colons of an address in brackets are its own.
        let host = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(host, _)| host);
        is_loopback(host.trim_matches(['[', ']']))
    };
    // What stands before an @ looks like a host and is none.
    let names_a_user = |rest: &str| rest.split('/').next().is_some_and(|authority| authority.contains('@'));
    match url.split_once("://") {
        Some((_, rest)) if names_a_user(rest) => false,
        Some(("https", rest)) => !rest.is_empty(),
        Some(("http", rest)) => of_this_machine(rest),
        _ => false,
    }
}
