//! What servers do otherwise than the standard says, or than others do: data, looked up by what the server says of
//! itself. Nothing here can make a purge or a grant possible that would be refused otherwise; it can only forbid, or
//! say how answers are to be read.

/// What one kind of server does.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Its name, for people.
    pub server: &'static str,
    /// Words in its greeting or in its `ID` name, in lower case, one of which tells it.
    signs: &'static [&'static str],
    /// What it does with the authorization identity of SASL PLAIN.
    pub authzid: Authzid,
    /// How it shows the owner of a folder in `GETACL`.
    pub owner: OwnerEntry,
    /// Whether a login for a mailbox that cannot exist may be tried, to see that it is refused.
    pub unknown_user: UnknownUser,
    /// Whether it lists names without a folder as if they were folders.
    pub lists: Lists,
    /// Whether it tells where a message lies that a folder only shows.
    pub elsewhere: Elsewhere,
    /// Whether the size that it tells of a message is that of its text.
    pub sizes: Sizes,
    /// What it sends in the place of a message that it cannot send.
    pub stand_in: StandIn,
    /// What an expunge leaves behind on the server.
    pub leaves: Leaves,
    /// The same for people, if anything is known to stay.
    pub residue: Option<&'static str>,
    /// Where it says something of its own about itself: what an administrator should know.
    pub remark: Option<&'static str>,
}

/// What a server does with an authorization identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authzid {
    /// It opens that identity's mailbox, or refuses. Still proven at every login.
    Honoured,
    /// It says `OK` and opens the mailbox of whoever logged in.
    Ignored,
    /// Not known.
    Unknown,
}

/// What `LIST` says of a name under which there are folders, but no folder of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// That it cannot be opened (`\Noselect`, `\NonExistent`).
    NamesApart,
    /// Nothing: whether there is a folder is asked of each that has folders below it.
    NamesAsFolders,
}

/// Whether a server tells in which folder a message lies that another one shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// Not known.
    Unknown,
    /// It does, of each message (`X-MAILBOX`).
    Told,
}

/// What the size is that a server tells of a message (`RFC822.SIZE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// That of its text. One that differs is not the text that was asked for, or not all of it.
    Exact,
    /// A guess.
    Guessed,
}

/// What a server sends when it cannot send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// Nothing.
    Nothing,
    /// A message of its own, which says so to people.
    NoticeOfExchange,
}

/// What an expunge leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// Headers in an index, until it is rewritten.
    Cache,
    /// The message itself, until a program of the server has run.
    Files,
    /// Not known.
    Unknown,
}

/// How the owner stands in the list of those who have rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerEntry {
    /// By the name of the mailbox's user.
    ByName,
    /// By a word that tells nobody's name, or not at all.
    Nameless,
}

/// Whether a login for an unknown mailbox is a harmless question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownUser {
    /// It is refused.
    Refused,
    /// It may be taken, or even make a mailbox: never to be tried.
    NotToBeTried,
}

const DOVECOT: Quirks = Quirks {
    server: "Dovecot",
    signs: &["dovecot"],
    authzid: Authzid::Honoured,
    owner: OwnerEntry::ByName,
    unknown_user: UnknownUser::Refused,
    // With its plugin for permissions, the name of a deleted folder looks like one while folders below it stay.
    lists: Lists::NamesAsFolders,
    elsewhere: Elsewhere::Told,
    sizes: Sizes::Exact,
    stand_in: StandIn::Nothing,
    leaves: Leaves::Cache,
    residue: Some(
        "headers of expunged messages may stay in dovecot.index.cache until `doveadm mailbox cache purge`, and with mdbox the \
         messages until `doveadm purge`",
    ),
    remark: Some(
        "with its plugin lazy_expunge, expunged messages are kept in another folder, which may not be shown to anybody: look \
         whether it is on, and when that folder is emptied",
    ),
};

const CYRUS: Quirks = Quirks {
    server: "Cyrus",
    signs: &["cyrus"],
    authzid: Authzid::Honoured,
    owner: OwnerEntry::ByName,
    // With autocreate_quota an unknown user gets a mailbox.
    unknown_user: UnknownUser::NotToBeTried,
    lists: Lists::NamesApart,
    elsewhere: Elsewhere::Unknown,
    sizes: Sizes::Exact,
    stand_in: StandIn::Nothing,
    leaves: Leaves::Files,
    residue: Some(
        "with expunge_mode: delayed, the default, expunged messages stay on disk until cyr_expire removes them",
    ),
    remark: Some(
        "an admin has only the rights \"la\" on other mailboxes; the form authzid gives those of the mailbox's user. With \
         autocreate_quota, a login for a user without a mailbox makes an empty one",
    ),
};

const COURIER: Quirks = Quirks {
    server: "Courier",
    signs: &["courier"],
    authzid: Authzid::Ignored,
    owner: OwnerEntry::Nameless,
    unknown_user: UnknownUser::NotToBeTried,
    lists: Lists::NamesApart,
    elsewhere: Elsewhere::Unknown,
    sizes: Sizes::Exact,
    stand_in: StandIn::Nothing,
    leaves: Leaves::Nothing,
    residue: None,
    remark: Some(
        "IMAP_EMPTYTRASH deletes old messages from Trash by itself: look at what it is set to. With \
         IMAP_MOVE_EXPUNGE_TO_TRASH (it says XMAGICTRASH) nothing is purged: an expunge would only move. A folder that \
         is deleted while folders below it stay keeps its permissions unseen, and has them again when it is made anew",
    ),
};

const EXCHANGE: Quirks = Quirks {
    server: "Exchange",
    // Its greeting can be another, and is where a proxy stands before it; its `ID` has points for the blanks.
    signs: &["microsoft exchange", "microsoft.exchange"],
    authzid: Authzid::Unknown,
    owner: OwnerEntry::Nameless,
    unknown_user: UnknownUser::Refused,
    lists: Lists::NamesApart,
    elsewhere: Elsewhere::Unknown,
    sizes: Sizes::Guessed,
    stand_in: StandIn::NoticeOfExchange,
    leaves: Leaves::Unknown,
    residue: Some("expunged messages stay in Recoverable Items for as long as the mailbox's settings say"),
    remark: Some(
        "in the place of a message that it cannot turn into mail, such as some invitations, Exchange sends a notice of its \
         own; such a message is not recorded, not exported and not purged",
    ),
};

const GMAIL: Quirks = Quirks {
    server: "Gmail",
    signs: &["gimap"],
    remark: Some(
        "its folders are labels: a message lies in several of them and in All Mail. What is expunged loses a label and, as \
         the account's settings are at first, stays; so nothing is purged here, and a migration copies a message once for each label",
    ),
    ..UNKNOWN
};

const MIRAPOINT: Quirks = Quirks { server: "Mirapoint", signs: &["mirapoint"], ..UNKNOWN };

const UNKNOWN: Quirks = Quirks {
    server: "unknown",
    signs: &[],
    authzid: Authzid::Unknown,
    owner: OwnerEntry::Nameless,
    unknown_user: UnknownUser::Refused,
    lists: Lists::NamesApart,
    elsewhere: Elsewhere::Unknown,
    sizes: Sizes::Exact,
    stand_in: StandIn::Nothing,
    leaves: Leaves::Unknown,
    residue: None,
    remark: None,
};

const TABLE: &[&Quirks] = &[&DOVECOT, &CYRUS, &COURIER, &EXCHANGE, &GMAIL, &MIRAPOINT];

/// Finds what is known of a server by its greeting and by the name in its `ID`.
pub(super) fn of(greeting: &[u8], id_name: &str) -> &'static Quirks {
    let said = format!("{} {id_name}", String::from_utf8_lossy(greeting)).to_lowercase();
    TABLE.iter().find(|quirks| quirks.signs.iter().any(|sign| said.contains(sign))).copied().unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_by_what_they_say_of_themselves() {
        assert_eq!(of(b"OK [CAPABILITY IMAP4rev1] lab ready", "Dovecot").server, "Dovecot");
        assert_eq!(of(b"OK [CAPABILITY IMAP4rev1 UIDPLUS] Courier-IMAP ready. Copyright", "").server, "Courier");
        assert_eq!(of(b"OK localhost Cyrus IMAP 3.6.1 server ready", "").server, "Cyrus");
        assert_eq!(of(b"OK The Microsoft Exchange IMAP4 service is ready. [TABPADIAAu]", "").server, "Exchange");
        assert_eq!(of(b"OK ready", "Microsoft.Exchange.Imap4.Imap4Server").server, "Exchange");
        assert_eq!(of(b"OK Gimap ready for requests from 192.0.2.1 x", "").server, "Gmail");
        assert_eq!(of(b"OK ready", "").server, "unknown");
    }
}
