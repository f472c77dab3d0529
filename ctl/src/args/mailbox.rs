//! `mailbox`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use retention_core::id::{EntityId, MigrationId};

use super::{Part, Why};
use crate::args::batch::Reading;

/// `mailbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum Mailbox {
    /// Register a mailbox, or change how it was registered.
    ///
    /// The server is a `[[server]]` of config.toml. Without --password-file the server's admin logs in; a mailbox that
    /// has a password already keeps it. The password is sealed under a key of its own, which is destroyed when the
    /// password is replaced or the mailbox removed.
    ///
    /// Example: retentionctl mailbox add jana@example.org --server mail --user jana
    ///
    /// Needs the role operator.
    Add(Box<AddMailbox>),
    /// Register the mailboxes of an IMAP migration batch, with their passwords, and destroy the file.
    ///
    /// Every rule of `batch check` must hold. All rows are registered, or none; a batch of more than 1,000 rows is
    /// taken in parts of 1,000, and can be imported again when it broke off in between. Then the file is
    /// overwritten and removed. The log shows who brought it, and never a password.
    ///
    /// Example: retentionctl mailbox import users.csv --server mail
    ///
    /// Needs the role operator.
    Import(ImportBatch),
    /// List the registered mailboxes.
    ///
    /// Example: retentionctl mailbox list --server mail --address "*@example.org"
    ///
    /// Needs the role auditor; reading is recorded.
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        part: Part,
    },
    /// Show one registered mailbox.
    ///
    /// Example: retentionctl mailbox show E7
    ///
    /// Needs the role auditor; reading is recorded.
    Show {
        /// The mailbox, such as E7.
        mailbox: EntityId,
    },
    /// Log in to a mailbox and say what works there, what is missing, and how to mend it.
    ///
    /// Nothing is changed in the mailbox. Ends with 78 when something is missing that purging needs.
    ///
    /// Example: retentionctl mailbox check E7
    ///
    /// Needs the role operator.
    Check {
        /// The mailbox, such as E7.
        mailbox: EntityId,
    },
    /// Have a mailbox looked at now: its messages become entities that policies judge.
    ///
    /// Without a policy about messages nothing of any message is recorded.
    ///
    /// Example: retentionctl mailbox scan E7
    ///
    /// Needs the role operator.
    Scan {
        /// The mailbox, such as E7.
        mailbox: EntityId,
    },
    /// List who may do what in a mailbox, as it was last seen: by grant, or standing without one.
    ///
    /// The permissions of all registered mailboxes are read every six hours, and when `grant reconcile` asks for it.
    /// What differs from the look before is in the log.
    ///
    /// Example: retentionctl mailbox permissions E7
    ///
    /// Needs the role auditor; reading is recorded.
    Permissions {
        /// The mailbox, such as E7.
        mailbox: EntityId,
        #[command(flatten)]
        part: Part,
    },
    /// Copy a mailbox into another, on another server: folders, messages byte for byte, flags, keywords and dates.
    ///
    /// Both must be registered. The source is only read. It goes on after any interruption, copies nothing twice, and
    /// reads every message again at both servers in the end. Asked for again, it copies what is new. Until it is
    /// over, no message of either mailbox is purged. See docs/migrate.md.
    ///
    /// Example: retentionctl mailbox migrate E7 E9 --exclude Trash --max-bytes 35000000
    ///
    /// Needs the role operator.
    Migrate {
        /// The mailbox that is copied, such as E7.
        source: EntityId,
        /// The mailbox that it is copied into, such as E9.
        target: EntityId,
        /// A folder that is left out, with those below it, by its path; may be repeated.
        #[arg(long, value_name = "FOLDER")]
        exclude: Vec<String>,
        /// Leave out messages of more bytes, and count them.
        #[arg(long, value_name = "BYTES")]
        max_bytes: Option<u64>,
    },
    /// List the migrations, the newest first, or show one.
    ///
    /// Example: retentionctl mailbox migrations
    ///
    /// Needs the role auditor.
    Migrations {
        /// Only this one, such as M420.
        migration: Option<MigrationId>,
        #[command(flatten)]
        part: Part,
    },
    /// Stop a migration before its next message. What was copied stays; asked for again, it goes on.
    ///
    /// Example: retentionctl mailbox stop-migration M420 --reason "the line is needed"
    ///
    /// Needs the role operator.
    StopMigration {
        /// The migration, such as M420.
        migration: MigrationId,
        #[command(flatten)]
        why: Why,
    },
    /// Take a mailbox out of the registry and destroy its password.
    ///
    /// Nothing is changed on the server. A mailbox that somebody has access to through a grant is not removed.
    ///
    /// Example: retentionctl mailbox remove E7 --reason "moved to the cloud"
    ///
    /// Needs the role operator.
    Remove {
        /// The mailbox, such as E7.
        mailbox: EntityId,
        #[command(flatten)]
        why: Why,
    },
}

/// Which of the registered mailboxes are meant.
#[derive(Debug, ClapArgs)]
pub(crate) struct Which {
    /// Only those on this server: a `[[server]]` of config.toml.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// Only those with this address; * stands for any characters, as in "*@example.org".
    #[arg(long, value_name = "PATTERN")]
    pub(crate) address: Option<String>,
}

/// A migration batch whose mailboxes are to be registered.
#[derive(Debug, ClapArgs)]
pub(crate) struct ImportBatch {
    /// The file.
    pub(crate) file: PathBuf,
    /// The server that the mailboxes are on: a `[[server]]` of config.toml.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// Leave the file where it is. It holds the passwords in the clear.
    #[arg(long)]
    pub(crate) keep_file: bool,
}

/// One mailbox to register.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct AddMailbox {
    /// The address.
    pub(crate) address: String,
    /// The server that it is on: a `[[server]]` of config.toml.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    /// The user, where the server names it otherwise than by the address.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// How one logs in, where that is not the server's own way: own-password, dovecot-master, exchange, mirapoint,
    /// authzid, user-root, xoauth2.
    #[arg(long, value_name = "FORM")]
    pub(crate) login: Option<String>,
    /// The sign between user and admin of dovecot-master.
    #[arg(long, value_name = "SIGN", requires = "login")]
    pub(crate) separator: Option<char>,
    /// The domain of exchange.
    #[arg(long, value_name = "NAME", requires = "login")]
    pub(crate) domain: Option<String>,
    /// Who logs in, where that is not the server's own admin.
    #[arg(long, value_name = "NAME")]
    pub(crate) admin: Option<String>,
    /// The folder of the mailbox in the admin's tree, for user-root.
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Option<String>,
    /// The file with the password or token of whoever logs in, of mode 0600.
    #[arg(long, value_name = "FILE", conflicts_with = "ask_password")]
    pub(crate) password_file: Option<PathBuf>,
    /// Ask for that password.
    #[arg(long)]
    pub(crate) ask_password: bool,
}
