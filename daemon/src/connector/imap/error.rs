//! Why a mail server did not do what was asked, and what to do now.

use std::time::Duration;

use super::answer::Code;
use super::value::Malformed;
use crate::connector::outcome::{Cause, Outcome, Refusal, Retry};

/// What was asked did not happen, or nobody knows. No message holds a text of the server: it may name people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It did not happen.
    #[error("{} ({})", explain(.0.code), .0.code)]
    Refused(Refusal),
    /// The connection ended, or the answer made no sense, before the end of the answer. What only asks may simply be
    /// asked again; what changes something needs a probe.
    #[error("{} ({})", explain(.0.code), .0.code)]
    Unknown(Cause),
}

impl MailError {
    pub(super) const fn refused(code: &'static str, retry: Retry) -> Self {
        Self::Refused(Refusal { code, retry })
    }

    pub(super) const fn unknown(code: &'static str) -> Self {
        Self::Unknown(Cause { code })
    }

    /// Returns the stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Unknown(cause) => cause.code,
        }
    }

    /// Returns how the effect ended that failed so.
    fn into_outcome<R>(self) -> Outcome<R> {
        match self {
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::Unknown(cause) => Outcome::Unknown(cause),
        }
    }

    /// Turns a question that got no answer into one that was refused: a question changes nothing.
    #[must_use]
    pub fn of_a_question(self) -> Self {
        match self {
            Self::Refused(_) => self,
            Self::Unknown(cause) => Self::refused(cause.code, Retry::After(RETRY_SOON)),
        }
    }
}

impl<R> From<MailError> for Outcome<R> {
    fn from(error: MailError) -> Self {
        error.into_outcome()
    }
}

impl From<Malformed> for MailError {
    fn from(_: Malformed) -> Self {
        Self::unknown("mail-answer-malformed")
    }
}

/// How long to leave a server alone that is busy for a moment.
pub(super) const RETRY_SOON: Duration = Duration::from_secs(30);
/// How long to leave a server alone that said it has enough.
const RETRY_LATER: Duration = Duration::from_secs(5 * 60);

/// Turns a tagged `NO` into a refusal.
pub(super) fn no(code: Option<&Code>) -> MailError {
    let name = match code {
        Some(Code::Plain(name)) => name,
        _ => "",
    };
    let (code, retry) = match name {
        "ALREADYEXISTS" => ("mail-already-exists", Retry::Never),
        "AUTHENTICATIONFAILED" => ("mail-login-refused", Retry::Operator),
        "AUTHORIZATIONFAILED" => ("mail-login-not-allowed", Retry::Operator),
        "EXPIRED" => ("mail-password-expired", Retry::Operator),
        "PRIVACYREQUIRED" => ("mail-tls-required", Retry::Operator),
        "CONTACTADMIN" => ("mail-contact-admin", Retry::Operator),
        "NOPERM" => ("mail-no-right", Retry::Operator),
        "NONEXISTENT" | "TRYCREATE" => ("mail-folder-missing", Retry::Never),
        "HASCHILDREN" => ("mail-folder-has-children", Retry::Never),
        "OVERQUOTA" => ("mail-over-quota", Retry::Operator),
        "TOOBIG" => ("mail-message-too-big", Retry::Never),
        "CORRUPTION" => ("mail-server-damaged", Retry::Operator),
        "INUSE" => ("mail-folder-in-use", Retry::After(RETRY_SOON)),
        "EXPUNGEISSUED" => ("mail-message-gone-meanwhile", Retry::AfterProbe),
        "LIMIT" | "THROTTLED" => ("mail-server-limit", Retry::After(RETRY_LATER)),
        "UNAVAILABLE" | "SERVERBUG" => ("mail-server-unavailable", Retry::After(RETRY_SOON)),
        "CANNOT" | "CLIENTBUG" | "USEATTR" | "UNKNOWN-CTE" => ("mail-not-possible", Retry::Never),
        _ => ("mail-refused", Retry::Operator),
    };
    MailError::refused(code, retry)
}

/// Says what a code means and what to do about it.
#[must_use]
pub fn explain(code: &str) -> &'static str {
    match code {
        "mail-unreachable" => "the mail server cannot be reached; check host, port and firewall in [[server]]",
        "mail-name-unknown" => "the name of the mail server does not resolve; check host in [[server]]",
        "mail-backing-off" => "the mail server failed a moment ago and is left alone for a while; nothing was sent",
        "mail-connections-busy" => {
            "all connections that this server may have are in use; raise max_connections or wait"
        }
        "mail-greeting" => {
            "what answered is no IMAP server, or it does not speak TLS as [[server]] says; check port and tls"
        }
        "mail-busy-greeting" => {
            "the mail server greeted with BYE: it has too many connections, or is stopping; try again later"
        }
        "mail-tls-certificate" => {
            "the certificate of the mail server is not trusted for this name; nothing was sent. Check ca_file and server_name in [[server]]"
        }
        "mail-tls" => "TLS with the mail server failed; nothing secret was sent. Check port and tls in [[server]]",
        "mail-tls-closed" => {
            "the mail server ended the connection before TLS was set up; nothing secret was sent. Its own log says why"
        }
        "mail-tls-files" => "ca_file of [[server]] cannot be read or holds no certificate",
        "mail-starttls-missing" => {
            "the mail server offers no STARTTLS, so nothing secret was sent; use tls = \"implicit\", or mend the server"
        }
        "mail-starttls-injection" => {
            "somebody spoke on the connection before TLS began; nothing secret was sent. Look for a man in the middle"
        }
        "mail-login-refused" => "the mail server refused the login; check the login name and the password",
        "mail-login-not-allowed" => {
            "the password is right, but this login may not open this mailbox; check that the mailbox exists and the admin may act for it"
        }
        "mail-login-disabled" => "the mail server takes no password on this connection; use TLS",
        "mail-login-form" => {
            "this server takes the login form and ignores whose mailbox it names: it would open the admin's own. Use the form user-root, or the mailbox's own password"
        }
        "mail-login-method" => "the mail server does not offer the way of logging in that this form needs",
        "mail-password-expired" => "the password has expired; set a new one",
        "mail-tls-required" => "the mail server wants TLS first",
        "mail-contact-admin" => "the mail server says that its administrator must do something",
        "mail-not-proven" => {
            "the login succeeded, but nothing proves whose mailbox it opened, so nothing was done; run `retentionctl mailbox check` to see what is missing"
        }
        "mail-wrong-mailbox" => {
            "the login opened another mailbox than the one that was asked for, so nothing was done; check the login form of [[server]]"
        }
        "mail-user-root" => {
            "the folder that UserRoot names is not there, or is not one of another user; check UserRoot and the shared folders of the server"
        }
        "mail-no-right" => "the login has no right to do this",
        "mail-folder-missing" => "the folder does not exist",
        "mail-already-exists" => "it exists already",
        "mail-folder-closed" => {
            "a folder of the mailbox is listed and does not open, by its name or its rights: what lies in it is neither recorded, found nor purged, and nothing is copied from or to it. `retentionctl mailbox check` names it: mend it at the server, or leave it out of a migration (--exclude)"
        }
        "mail-folder-has-children" => "the folder has folders below it",
        "mail-folder-not-made" => {
            "the target of a migration does not make a folder: it does not take its name, or the login may make none; leave the folder out (--exclude), or register the target with the password of its owner"
        }
        "mail-source-broke-off" => "the source of a migration broke off in the middle of a message",
        "mail-text-withheld" => {
            "the mail server tells of a message and does not send its text, or in another size than it told, or does not open its folder any more; Exchange does so with what it cannot turn into mail. The message is left alone, and each later plan or migration asks for it again: open it with the mailbox's own mail program, and keep, move or remove it there"
        }
        "mail-same-mailbox" => {
            "the target of the migration is the source itself: what was appended came in there; check host and user of both mailboxes"
        }
        "mail-folders-alike" => {
            "two folders of the mailbox have one name, so nothing can be said of either; rename one"
        }
        "mail-sessions-live" => {
            "sessions of the principal are still open after they were to be ended; doveadm kick may need a look"
        }
        "mail-doveadm" => "doveadm did not do what it was asked for; check url and key of doveadm in [[server]]",
        "mail-doveadm-unreachable" => {
            "doveadm cannot be reached, or did not answer; check url of doveadm in [[server]]"
        }
        "mail-doveadm-key" => "doveadm does not take the key; check the key of doveadm in [[server]]",
        "mail-name-unsafe" => {
            "the name has a meaning of its own for the mail server, or holds one of \" \\ * ? %, so it cannot stand for one person or mailbox; nothing was sent"
        }
        "mail-negative-rights" => {
            "the folder takes rights away from this principal by an entry of its own, so a grant would have no effect; remove that entry"
        }
        "mail-name-alike" => {
            "a folder has an entry for a name that may mean the same person (other letters, with or without a domain); nothing was changed. Use that name"
        }
        "mail-name-changed" => {
            "the server gave the access to another name than it was told, so it was taken back; use the name that the server uses"
        }
        "mail-not-proven-later" => {
            "with this grant the mailbox could no longer be proven to be the user's, so it could not be revoked; nothing was changed"
        }
        "mail-folders-change" => "folders were made or removed while they were gone through; it is tried again",
        "mail-over-quota" => "the mailbox has no room left (quota)",
        "mail-message-too-big" => "the message is larger than the server takes",
        "mail-server-damaged" => "the mail server says that the mailbox is damaged; its administrator must look at it",
        "mail-folder-in-use" => "somebody else uses the folder just now",
        "mail-message-gone-meanwhile" => "a message went away meanwhile",
        "mail-server-limit" => "the mail server says that a limit is reached",
        "mail-server-unavailable" => "the mail server cannot do this just now",
        "mail-not-possible" => "the mail server says that it cannot do this at all",
        "mail-refused" => {
            "the mail server refused and did not say why in a form that programs read; its own log says more"
        }
        "mail-bad-command" => {
            "the mail server does not understand a command; it may need an entry in the table of quirks"
        }
        "mail-no-uidplus" => {
            "the mail server has no UIDPLUS, so single messages cannot be purged without touching others; nothing was done"
        }
        "mail-expunge-keeps" => {
            "the mail server keeps what is expunged: Courier moves it to Trash (set IMAP_MOVE_EXPUNGE_TO_TRASH=0 in its configuration), Gmail takes a label off it; nothing was done"
        }
        "mail-no-acl" => "the mail server has no ACL (RFC 4314), so access cannot be granted through it",
        "mail-uids-do-not-last" => {
            "the UIDs of this folder do not last (UIDNOTSTICKY), so its messages cannot be named; nothing was done"
        }
        "mail-uid-validity" => "the folder is not the one that was recorded (UIDVALIDITY changed), so nothing was done",
        "mail-text-unsendable" => "a name holds a character that cannot be sent, so nothing was sent",
        "mail-read-only" => "the folder opened read-only",
        "mail-not-open" => "no folder is open as it was asked for, so nothing was done",
        "mail-stopped" => "the work was stopped in the middle of an answer; it is taken up again",
        "mail-content-ended" => {
            "the message ended before the length that was told for it; the server forgets what it got"
        }
        "mail-closed" => "the mail server ended the connection",
        "mail-bye" => "the mail server said goodbye and ended the connection",
        "mail-silent" => "the mail server was silent for too long",
        "mail-too-slow" => "the mail server answers too slowly",
        "mail-too-much" => "the mail server sent more than one answer may hold",
        "mail-header-unread" => {
            "the addresses in the header of a message are more than a megabyte, or the server has lost it; that message is not recorded, not found and not purged. The diagnostics of the daemon name it: look at it, and remove it by hand"
        }
        "mail-answer-malformed" => "the mail server's answer does not follow the protocol",
        "mail-answer-incomplete" => "the mail server's answer lacks what was asked for",
        "mail-connection" => "the connection to the mail server broke",
        "mail-credential" => "the credential for the mail server cannot be read",
        _ => "the mail server could not be used",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::imap::answer::PLAIN_CODES;

    #[test]
    fn every_refusal_has_a_code_that_explains_itself() {
        for name in PLAIN_CODES {
            let error = no(Some(&Code::Plain(name)));
            assert_ne!(explain(error.code()), explain(""), "{name}");
        }
        assert_ne!(explain(no(None).code()), explain(""));
        for code in
            ["mail-not-open", "mail-stopped", "mail-content-ended", "mail-folder-not-made", "mail-source-broke-off"]
        {
            assert_ne!(explain(code), explain(""), "{code}");
        }
    }

    #[test]
    fn a_question_without_an_answer_may_be_asked_again() {
        let error = MailError::unknown("mail-closed").of_a_question();
        assert!(matches!(error, MailError::Refused(Refusal { retry: Retry::After(_), .. })));
    }

    #[test]
    fn every_code_stands_in_the_page_for_administrators_as_it_is_explained() {
        const PAGE: &str = include_str!("../../../../docs/mailboxes.md");
        let arms =
            include_str!("error.rs").lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        let codes: Vec<&str> = arms.map(|(code, _)| code).filter(|code| code.starts_with("mail-")).collect();
        assert!(codes.len() > 60, "{codes:?}");
        for code in codes {
            let row = format!("| `{code}` | {} |", explain(code));
            assert!(PAGE.contains(&row), "docs/mailboxes.md lacks {row}");
        }
    }
}
