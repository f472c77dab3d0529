//! Registered mailboxes, as the control API asks for them: what people write is checked, and what works there is tried.

use std::sync::Arc;

use retention_core::control::{AddMailbox, AddMailboxes, ErrorBody, ErrorCode, MailboxFinding, Severity};
use retention_core::event::Actor;
use retention_core::id::{EntityId, Position};
use retention_core::mailbox::{Identity, LoginForm, Rights};
use zeroize::Zeroizing;

use super::directory::Directory;
use crate::config::MailServer;
use crate::connector::imap::{Connector, Folder, Leaves, MailError, MailboxDirectory as _, Session, explain};
use crate::connector::mail::{FOLDER_CLOSED, REFUSALS_OF_A_FOLDER};
use crate::connector::outcome::{Refusal, Retry};
use crate::stage::intake::IntakeError;
use crate::stage::intake::registry::{Registrar, Registration, RegistryError};
use crate::store::AppendError;

/// What is needed to look after mailboxes.
pub(super) struct Mailboxes {
    pub(super) registrar: Arc<Registrar>,
    pub(super) directory: Arc<Directory>,
    pub(super) connector: Arc<Connector>,
}

fn bad(message: impl Into<String>) -> ErrorBody {
    ErrorBody::saying(ErrorCode::BadRequest, message)
}

fn failed(error: RegistryError) -> ErrorBody {
    match error {
        RegistryError::Twice(_) => bad(error.to_string()),
        RegistryError::Alike { known, .. } => bad(error.to_string())
            .hint(format!("write the address as it is registered: retentionctl mailbox show {known}")),
        RegistryError::NotRegistered(_) => {
            ErrorBody::saying(ErrorCode::NotFound, error.to_string()).hint("retentionctl mailbox list")
        }
        RegistryError::InUse(_) => ErrorBody::saying(ErrorCode::WrongState, error.to_string())
            .hint("end it first: retentionctl grant list, mailbox migrations, run list"),
        RegistryError::Failed(IntakeError::Append(AppendError::ReadOnly(damage))) => ErrorBody::saying(
            ErrorCode::StoreReadOnly,
            format!("the store is read-only: {damage}; nothing was changed"),
        )
        .hint("retentionctl store verify"),
        RegistryError::Failed(IntakeError::Append(AppendError::Conflict(conflict))) => {
            ErrorBody::saying(ErrorCode::WrongState, format!("{conflict}; nothing was changed")).hint("look again")
        }
        RegistryError::Failed(error) => {
            tracing::error!(%error, "mailboxes could not be registered");
            ErrorBody::of(ErrorCode::Internal)
        }
    }
}

impl Mailboxes {
    pub(super) fn register(&self, uid: u32, wanted: AddMailboxes) -> Result<Vec<EntityId>, ErrorBody> {
        let batch = wanted.batch;
        let registrations = wanted
            .mailboxes
            .into_iter()
            .zip(1..)
            .map(|(one, number)| self.registration(one).map_err(|error| of_number(error, number)))
            .collect::<Result<Vec<_>, _>>()?;
        self.registrar.register(Actor::Person(uid), &registrations, batch).map_err(failed)
    }

    pub(super) fn remove(&self, uid: u32, mailbox: EntityId, reason: String) -> Result<Position, ErrorBody> {
        self.registrar.remove(Actor::Person(uid), mailbox, reason).map_err(failed)
    }

    fn registration(&self, wanted: AddMailbox) -> Result<Registration, ErrorBody> {
        let secret = wanted.secret.map(Zeroizing::new);
        let server = self.directory.server(&wanted.server).ok_or_else(|| {
            bad("no [[server]] of the configuration has that name; nothing was registered")
                .hint("add it to config.toml and reload the daemon: systemctl reload retentiond")
        })?;
        let form = form_of(&server, wanted.login.as_deref(), wanted.separator, wanted.domain)?;
        let AddMailbox { address, user, admin, root, .. } = wanted;
        let registration = Registration { server: server.name.clone(), address, user, form, admin, root, secret };
        if let Some(fault) = registration.fault() {
            return Err(bad(format!("{fault}; nothing was registered")));
        }
        let used = registration.form.as_ref().unwrap_or(&server.form);
        if used.identity() == Identity::Admin
            && *used != LoginForm::XOAuth2
            && registration.admin.is_none()
            && server.admin.is_none()
        {
            return Err(bad(format!("login {used} needs to know who the admin is; nothing was registered"))
                .hint("say --admin NAME with --password-file FILE, or give the [[server]] an admin"));
        }
        Ok(registration)
    }

    /// Tries what purging and granting need. Nothing is changed in the mailbox.
    pub(super) fn check(&self, mailbox: EntityId) -> Result<Vec<MailboxFinding>, ErrorBody> {
        let access = match self.directory.access(mailbox) {
            Ok(access) => access,
            Err(refusal) if refusal.code == "mailbox-not-registered" => {
                return Err(failed(RegistryError::NotRegistered(mailbox)));
            }
            Err(refusal) => return Ok(vec![wrong("credential", refusal.code, says(refusal.code))]),
        };
        let mut session = match self.connector.open(&access) {
            Ok(session) => session,
            Err(error) => {
                let finding = wrong("login", error.code(), explain(error.code()));
                return Ok(vec![MailboxFinding { hint: again(&error), ..finding }]);
            }
        };
        let proof = session.proof();
        let mut findings = vec![
            note("login", "login-works", format!("the login works; the server is {}", session.quirks().server)),
            note("owner", "owner-proven", format!("whose mailbox it is was proven: {}", proof.sentence())),
        ];
        findings.extend(look_around(&mut session));
        session.log_out();
        Ok(findings)
    }
}

/// What a mailbox needs for purging and granting.
fn look_around(session: &mut Session) -> Vec<MailboxFinding> {
    let mut findings = Vec::new();
    let folders = match session.folders() {
        Ok(folders) => folders,
        Err(error) => return vec![wrong("folders", error.code(), explain(error.code()))],
    };
    findings.push(note("folders", "folders-listed", format!("{} folders", folders.len())));
    findings.extend(closed(session, &folders));
    let views = folders.iter().filter(|folder| folder.is_view() || is_unmarked_view(session, folder)).count();
    if views > 0 {
        let message = format!(
            "{views} of them show messages of other folders (\\All, \\Flagged, virtual ones of Dovecot) and are not looked into"
        );
        findings.push(note("folders", "folders-views", message));
    }
    let has = |word: &str| session.capabilities().has(word);
    findings.push(if session.expunge_keeps() {
        wrong("expunge", "mail-expunge-keeps", explain("mail-expunge-keeps"))
    } else if has("UIDPLUS") {
        note("expunge", "expunge-exact", "single messages can be purged without touching others (UIDPLUS)".to_owned())
    } else {
        wrong("expunge", "mail-no-uidplus", explain("mail-no-uidplus"))
    });
    findings.push(if has("CONDSTORE") {
        note("changes", "changes-counted", "changes are counted (CONDSTORE): later looks are quick".to_owned())
    } else {
        note(
            "changes",
            "changes-not-counted",
            "changes are not counted (no CONDSTORE): every look reads all".to_owned(),
        )
    });
    if has("ACL") {
        let inbox = session.inbox().to_owned();
        findings.push(rights(session.my_rights(&inbox)));
        findings.extend(rights_elsewhere(session, &folders));
    } else {
        findings.push(MailboxFinding {
            severity: Severity::Warning,
            ..wrong("access", "mail-no-acl", explain("mail-no-acl"))
        });
    }
    if let Some(remark) = session.quirks().remark {
        findings.push(note("server", "server-remark", remark.to_owned()));
    }
    findings.extend(residue(session.quirks().leaves));
    findings
}

/// The most folders that are named.
const NAMED_MAX: usize = 10;

/// Names the folders that are listed and do not open: whatever lies in them is not known.
fn closed(session: &mut Session, folders: &[Folder]) -> Option<MailboxFinding> {
    let selectable: Vec<&Folder> = folders.iter().filter(|folder| folder.selectable && !folder.is_view()).collect();
    let names: Vec<&str> = selectable.iter().map(|folder| folder.name.as_str()).collect();
    let answers = session.answers_for(&names);
    let closed: Vec<&str> = selectable
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.as_ref().is_err_and(|error| REFUSALS_OF_A_FOLDER.contains(&error.code())))
        .map(|(folder, _)| folder.path.as_str())
        .collect();
    if closed.is_empty() {
        return None;
    }
    let named: Vec<String> = closed.iter().take(NAMED_MAX).map(|path| format!("{path:?}")).collect();
    let more = if closed.len() > NAMED_MAX { ", …" } else { "" };
    Some(MailboxFinding {
        message: format!("{} of them do not open: {}{more}", closed.len(), named.join(", ")),
        hint: Some(explain(FOLDER_CLOSED).to_owned()),
        ..wrong("folders", FOLDER_CLOSED, "")
    })
}

fn is_unmarked_view(session: &mut Session, folder: &Folder) -> bool {
    // What cannot be found out here is found out at each look.
    folder.selectable
        && session.tells_of_others()
        && session.examine(&folder.name).is_ok()
        && session.shows_others(&folder.name).unwrap_or(false)
}

/// What an expunge may leave on the server.
fn residue(leaves: Leaves) -> Option<MailboxFinding> {
    let message = match leaves {
        Leaves::Nothing => return None,
        Leaves::Cache => {
            "headers of purged messages may stay in the server's index, and with mdbox the messages in its storage, until they are rewritten; with doveadm in [[server]] that is done after each purge"
        }
        Leaves::Files => {
            "purged messages may stay on the server's disk until its own clean-up has run (Cyrus: cyr_expire, expunge_mode)"
        }
        Leaves::Unknown => "whether the server keeps anything of purged messages is not known",
    };
    Some(note("residue", "server-residue", message.to_owned()))
}

const ALL_RIGHTS: &str = "let the admin have the rights lrswte (and a for grants) on every folder";

/// Says of how many other folders the rights do not suffice: a purge there would wait until somebody gives them.
fn rights_elsewhere(session: &mut Session, folders: &[Folder]) -> Option<MailboxFinding> {
    let others = folders.iter().filter(|folder| folder.selectable && !folder.is_view() && folder.path != "INBOX");
    let names: Vec<&str> = others.map(|folder| folder.name.as_str()).collect();
    let suffices = |read: &Result<Rights, MailError>| read.as_ref().is_ok_and(|read| read.covers(Rights::PURGE));
    let lacking = session.my_rights_on(&names).iter().filter(|read| !suffices(read)).count();
    (lacking > 0).then(|| MailboxFinding {
        message: format!("the rights on {lacking} of the {} other folders do not suffice for purging", names.len()),
        hint: Some(ALL_RIGHTS.to_owned()),
        ..wrong("access", "rights-missing-in-folders", "")
    })
}

fn rights(read: Result<Rights, MailError>) -> MailboxFinding {
    match read {
        Ok(rights) if rights.covers(Rights::PURGE) => {
            note("access", "rights-suffice", format!("the rights on the inbox suffice for purging ({rights})"))
        }
        Ok(rights) => MailboxFinding {
            message: format!("the rights on the inbox do not suffice for purging ({rights})"),
            hint: Some(ALL_RIGHTS.to_owned()),
            ..wrong("access", "rights-missing", "")
        },
        Err(error) => wrong("access", error.code(), explain(error.code())),
    }
}

/// Says when a server is asked again that is left alone for a while: until then nobody hears whether it is mended.
fn again(error: &MailError) -> Option<String> {
    match error {
        MailError::Refused(Refusal { code: "mail-backing-off", retry: Retry::After(rest) }) => {
            Some(format!("check again in {} s; retentionctl mailbox list says what failed", rest.as_secs() + 1))
        }
        _ => None,
    }
}

fn note(check: &str, code: &str, message: String) -> MailboxFinding {
    MailboxFinding { check: check.to_owned(), severity: Severity::Note, code: code.to_owned(), message, hint: None }
}

fn wrong(check: &str, code: &str, message: &str) -> MailboxFinding {
    MailboxFinding {
        check: check.to_owned(),
        severity: Severity::Error,
        code: code.to_owned(),
        message: message.to_owned(),
        hint: None,
    }
}

/// Says what a code of the directory means and what to do about it.
fn says(code: &str) -> &'static str {
    match code {
        "mailbox-server-not-configured" => {
            "its server is not in the configuration any more; add the [[server]] again, or remove the mailbox"
        }
        "mailbox-record-unreadable" => "its record cannot be read; run `retentionctl store verify`",
        "mailbox-without-credential" => {
            "it has no password of its own and its server has no admin; run `retentionctl mailbox add` again with --password-file"
        }
        "mailbox-credential-unreadable" => {
            "its password cannot be read; look at the diagnostics of the daemon, and register the mailbox again with --password-file"
        }
        _ => "it cannot be used",
    }
}

fn of_number(error: ErrorBody, number: usize) -> ErrorBody {
    ErrorBody { message: format!("mailbox {number} of the request: {}", error.message), ..error }
}

/// Returns the form that was asked for; `None` for the server's own.
fn form_of(
    server: &MailServer,
    word: Option<&str>,
    separator: Option<char>,
    domain: Option<String>,
) -> Result<Option<LoginForm>, ErrorBody> {
    let Some(word) = word else {
        return match (separator, domain) {
            (None, None) => Ok(None),
            _ => {
                Err(bad("a separator or domain belongs to a login form; nothing was registered")
                    .hint("say --login too"))
            }
        };
    };
    let form = word
        .parse::<LoginForm>()
        .map_err(|error| bad(format!("there is no such login form: {error}; nothing was registered")))?;
    match (form, separator, domain) {
        (LoginForm::DovecotMaster { .. }, separator, None) => {
            let usual = match server.form {
                LoginForm::DovecotMaster { separator } => separator,
                _ => '*',
            };
            let separator = separator.unwrap_or(usual);
            match separator.is_ascii_punctuation() {
                true => Ok(Some(LoginForm::DovecotMaster { separator })),
                false => Err(bad("a separator is one sign, as auth_master_user_separator of Dovecot has it")),
            }
        }
        (LoginForm::Exchange { .. }, None, domain) => {
            let usual = match &server.form {
                LoginForm::Exchange { domain } => Some(domain.clone()),
                _ => None,
            };
            match domain.or(usual).filter(|domain| !domain.is_empty()) {
                Some(domain) => Ok(Some(LoginForm::Exchange { domain })),
                None => Err(bad("login exchange needs the domain of Domain/Admin/User").hint("say --domain NAME")),
            }
        }
        (form, None, None) => Ok(Some(form)),
        (form, _, _) => Err(bad(format!("login {form} has neither a separator nor a domain; nothing was registered"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MailTls;

    fn server(form: LoginForm) -> MailServer {
        MailServer {
            name: "mail".to_owned(),
            host: "localhost".to_owned(),
            port: 143,
            tls: MailTls::PlainLoopback,
            ca_file: None,
            tls_name: "localhost".to_owned(),
            max_connections: 1,
            form,
            admin: None,
            doveadm: None,
            batches: None,
        }
    }

    #[test]
    fn a_form_takes_what_is_not_said_from_its_server() {
        let dovecot = server(LoginForm::DovecotMaster { separator: '+' });
        let exchange = server(LoginForm::Exchange { domain: "corp".to_owned() });
        let plain = server(LoginForm::OwnPassword);
        assert_eq!(form_of(&dovecot, None, None, None), Ok(None));
        let read = |server, word, separator, domain: Option<&str>| {
            form_of(server, Some(word), separator, domain.map(str::to_owned)).ok().flatten()
        };
        let master = |separator| Some(LoginForm::DovecotMaster { separator });
        assert_eq!(read(&dovecot, "dovecot-master", None, None), master('+'));
        assert_eq!(read(&plain, "dovecot-master", None, None), master('*'));
        assert_eq!(read(&plain, "dovecot-master", Some('%'), None), master('%'));
        assert_eq!(read(&plain, "dovecot-master", Some('a'), None), None);
        let corp = Some(LoginForm::Exchange { domain: "corp".to_owned() });
        assert_eq!(read(&exchange, "exchange", None, None), corp);
        assert_eq!(read(&plain, "exchange", None, Some("corp")), corp);
        assert_eq!(read(&plain, "exchange", None, None), None);
        assert_eq!(read(&plain, "mirapoint", None, Some("corp")), None);
        assert!(form_of(&plain, None, Some('*'), None).is_err());
        assert!(form_of(&plain, Some("master"), None, None).is_err());
    }

    #[test]
    fn of_a_server_that_is_left_alone_it_is_said_when_it_is_asked_again() {
        let refused = |code, retry| MailError::Refused(Refusal { code, retry });
        let rest = Retry::After(std::time::Duration::from_millis(11_500));
        assert!(again(&refused("mail-backing-off", rest)).is_some_and(|hint| hint.contains("in 12 s")));
        assert_eq!(again(&refused("mail-unreachable", rest)), None);
    }

    #[test]
    fn every_refusal_of_the_directory_is_explained() {
        for code in [
            "mailbox-server-not-configured",
            "mailbox-record-unreadable",
            "mailbox-without-credential",
            "mailbox-credential-unreadable",
        ] {
            assert_ne!(says(code), says(""), "{code}");
        }
    }
}
