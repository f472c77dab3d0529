//! `batch`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use retention_core::batch::MigrationKind;
use retention_core::batch::kind::folded;
use retention_core::batch::login::NameForm;
use retention_core::text::{Delimiter, Encoding};

/// `batch`.
#[derive(Debug, Subcommand)]
pub(crate) enum Batch {
    /// Check migration batches: every rule, all findings at once.
    ///
    /// Takes the CSV files of New-MigrationBatch and the mapping file of a PST import. A directory stands for its .csv
    /// and .txt files; files that are checked together may not name the same mailbox twice. Ends with 78 when a row or
    /// a file would be refused. No cell is ever shown.
    ///
    /// Example: retentionctl batch check users.csv --kind imap
    ///
    /// Needs no daemon.
    Check {
        /// The files, or directories of files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        reading: Reading,
        #[command(flatten)]
        rules: Rules,
        /// List the bad rows of one file in MigrationErrors.csv, or in this file; it must not exist.
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "MigrationErrors.csv")]
        errors: Option<PathBuf>,
        /// Write the good rows of one file into this one, which must not exist. It holds the passwords.
        #[arg(long, value_name = "FILE")]
        good_rows: Option<PathBuf>,
    },
    /// Register the mailboxes of an IMAP migration batch, with their passwords, and destroy the file: as `mailbox
    /// import` does.
    ///
    /// Example: retentionctl batch import users.csv --server mail
    ///
    /// Needs the role operator.
    Import(super::mailbox::ImportBatch),
    /// Split a batch into files: the header on each, every row in exactly one.
    ///
    /// Without --rows and --bytes each file is as large as its kind may be. The batch must be good but for its size.
    /// The files hold the passwords and are written with mode 0600.
    ///
    /// Example: retentionctl batch split users.csv --kind staged --rows 500 --into parts
    ///
    /// Needs no daemon.
    Split {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
        #[command(flatten)]
        rules: Rules,
        /// The directory for the files; made when it does not exist.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// At most so many rows in each.
        #[arg(long, value_name = "N")]
        rows: Option<u64>,
        /// At most so many bytes in each, the header included.
        #[arg(long, value_name = "N")]
        bytes: Option<u64>,
        /// By the first letter of the address.
        #[arg(long, conflicts_with = "by")]
        by_letter: bool,
        /// By the value of a column; one that is no attribute is left out of the files.
        #[arg(long, value_name = "COLUMN")]
        by: Option<String>,
    },
    /// Make a batch from the mailboxes that are registered, or from a list of addresses.
    ///
    /// With --registered the daemon names its mailboxes, by server and address if wanted, with the names and folders
    /// that they have at the source; it gives out no password. A list has one address a line, or is a CSV file with the
    /// column EmailAddress and, if wanted, UserName (the name at the source) and UserRoot. An IMAP batch logs in as an
    /// administrator, in one of the four forms of the guides; the password is asked for, or read from a file that only
    /// you can read, and stands in every row of the new file, which has mode 0600. What is written passes `batch
    /// check`. With --name the command New-MigrationBatch for it is shown, too.
    ///
    /// Example: retentionctl batch make --registered --server mail --form dovecot --admin mailadmin --into users.csv
    ///
    /// Needs the role auditor with --registered, and reading is recorded; a list needs no daemon.
    Make(Box<Make>),
    /// Turn a file as Excel writes it into one that a migration takes.
    ///
    /// Semicolons and tabs become commas; windows-1250, windows-1252 and UTF-16 become UTF-8; byte order mark, sep=
    /// line, blank lines and empty columns go; names of columns get their documented spelling. No cell is touched:
    /// passwords stay as they are, and nothing is put in front of them. What was changed is listed.
    ///
    /// Example: retentionctl batch convert excel.csv --encoding windows-1250 --into users.csv
    ///
    /// Needs no daemon.
    Convert {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// The kind, where columns are spelt differently in two kinds.
        #[arg(long)]
        kind: Option<MigrationKind>,
        /// The new file; it must not exist.
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
    },
    /// Write New-MigrationBatch for a file, ready to paste into PowerShell.
    ///
    /// Example: retentionctl batch command users.csv --kind imap --name Wave1 --endpoint imap-hq
    ///
    /// Needs no daemon.
    Command {
        /// The file, as the machine that runs PowerShell sees it; it is not read.
        file: String,
        /// The kind.
        #[arg(long)]
        kind: MigrationKind,
        /// The name of the batch: letters, digits, - and _.
        #[arg(long)]
        name: String,
        /// The name of the migration endpoint.
        #[arg(long)]
        endpoint: Option<String>,
        /// The domain that remote moves deliver to, such as contoso.mail.onmicrosoft.com.
        #[arg(long, value_name = "DOMAIN")]
        delivery_domain: Option<String>,
        /// A database for rows that name none; may be repeated.
        #[arg(long = "target-database", value_name = "NAME")]
        target_databases: Vec<String>,
        /// Let columns that are no attributes be ignored.
        #[arg(long)]
        allow_unknown_columns: bool,
    },
}

/// How a file is written, where that is not certain.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Reading {
    /// The encoding, where it cannot be told.
    #[arg(long, value_enum)]
    encoding: Option<EncodingName>,
    /// The delimiter, where it cannot be told.
    #[arg(long, value_enum)]
    delimiter: Option<DelimiterName>,
}

impl Reading {
    pub(crate) fn named(&self) -> retention_core::batch::Named {
        let encoding = self.encoding.map(|name| match name {
            EncodingName::Utf8 => Encoding::Utf8,
            EncodingName::Utf16le => Encoding::Utf16Le,
            EncodingName::Utf16be => Encoding::Utf16Be,
            EncodingName::Windows1250 => Encoding::Windows1250,
            EncodingName::Windows1252 => Encoding::Windows1252,
        });
        let delimiter = self.delimiter.map(|name| match name {
            DelimiterName::Comma => Delimiter::Comma,
            DelimiterName::Semicolon => Delimiter::Semicolon,
            DelimiterName::Tab => Delimiter::Tab,
        });
        retention_core::batch::Named { encoding, delimiter }
    }
}

impl Reading {
    /// Returns the options with which the file is read in the same way again, each with a space before it.
    pub(crate) fn words(&self) -> String {
        let named = [
            ("encoding", self.encoding.and_then(|name| name.to_possible_value())),
            ("delimiter", self.delimiter.and_then(|name| name.to_possible_value())),
        ];
        let told = |(option, value): (&str, Option<PossibleValue>)| Some(format!(" --{option} {}", value?.get_name()));
        named.into_iter().filter_map(told).collect()
    }
}

/// An encoding by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EncodingName {
    /// With or without byte order mark.
    #[value(name = "utf-8")]
    Utf8,
    /// Low byte first.
    #[value(name = "utf-16le")]
    Utf16le,
    /// High byte first.
    #[value(name = "utf-16be")]
    Utf16be,
    /// Central European Windows.
    #[value(name = "windows-1250")]
    Windows1250,
    /// Western European Windows.
    #[value(name = "windows-1252")]
    Windows1252,
}

/// A delimiter by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DelimiterName {
    /// The only one that a migration takes.
    Comma,
    /// Excel in countries with a decimal comma.
    Semicolon,
    /// Unicode text of Excel.
    Tab,
}

/// What is known of a batch beside its file.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Rules {
    /// The kind: staged, imap, onboarding, offboarding, cross-forest, local, google, cross-tenant, public-folders,
    /// public-folder-groups, pst. Without it the header decides, if it can.
    #[arg(long)]
    pub(crate) kind: Option<MigrationKind>,
    /// An attribute whose value the batch itself gives, such as TargetDatabase; may be repeated.
    #[arg(long, value_name = "ATTRIBUTE", value_parser = parse_attribute)]
    pub(crate) of_batch: Vec<String>,
    /// Let columns that are no attributes be ignored, as -AllowUnknownColumnsInCsv does.
    #[arg(long)]
    pub(crate) allow_unknown_columns: bool,
}

impl Rules {
    /// Returns the options that say the same again of another file, but for its kind, each with a space before it.
    pub(crate) fn words(&self) -> String {
        let allowed = if self.allow_unknown_columns { " --allow-unknown-columns" } else { "" };
        let of_batch = self.of_batch.iter().map(|attribute| format!(" --of-batch {attribute}"));
        of_batch.chain([allowed.to_owned()]).collect()
    }
}

/// Reads the name of an attribute. One in another spelling would mean nothing, and the check would go on without it.
fn parse_attribute(text: &str) -> Result<String, String> {
    let attributes = || MigrationKind::ALL.iter().flat_map(|kind| kind.attributes());
    if attributes().any(|attribute| attribute.name == text) {
        return Ok(text.to_owned());
    }
    match attributes().find(|attribute| folded(attribute.name) == folded(text)) {
        Some(meant) => Err(format!("an attribute is spelt exactly as documented: did you mean {}?", meant.name)),
        None => Err("no kind of batch has such an attribute".to_owned()),
    }
}

/// `batch make`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Make {
    /// The list.
    #[arg(required_unless_present = "registered")]
    pub(crate) list: Option<PathBuf>,
    /// In place of a list: the mailboxes that are registered.
    #[arg(long, conflicts_with = "list")]
    pub(crate) registered: bool,
    /// Only registered mailboxes on this server: a `[[server]]` of config.toml.
    #[arg(long, value_name = "NAME", requires = "registered", conflicts_with = "list")]
    pub(crate) server: Option<String>,
    /// Only registered mailboxes with this address; * stands for any characters, as in "*@example.org".
    #[arg(long, value_name = "PATTERN", requires = "registered", conflicts_with = "list")]
    pub(crate) address: Option<String>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// The kind; all but imap name addresses only.
    #[arg(long, default_value = "imap")]
    pub(crate) kind: MigrationKind,
    /// The administrator's form of login: exchange, dovecot, mirapoint or courier.
    #[arg(long, required_if_eq("kind", "imap"))]
    pub(crate) form: Option<NameForm>,
    /// The name of the administrator.
    #[arg(long, value_name = "NAME", required_if_eq("kind", "imap"))]
    pub(crate) admin: Option<String>,
    /// The file with the administrator's password, of mode 0600; without it the password is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The domain of Exchange's form; of Mirapoint's, where it is not the one of the address.
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Where Courier's virtual shared folders begin, for mailboxes that name no folder of their own.
    #[arg(long, value_name = "PATH", default_value = "/users")]
    pub(crate) root: String,
    /// The new file; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: PathBuf,
    /// Show New-MigrationBatch for a batch of this name as well: letters, digits, - and _.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The name of the migration endpoint, for that command.
    #[arg(long, value_name = "NAME", requires = "name")]
    pub(crate) endpoint: Option<String>,
    /// The domain that remote moves deliver to, for that command.
    #[arg(long, value_name = "DOMAIN", requires = "name")]
    pub(crate) delivery_domain: Option<String>,
    /// A database for that command; may be repeated.
    #[arg(long = "target-database", value_name = "NAME", requires = "name")]
    pub(crate) target_databases: Vec<String>,
}
