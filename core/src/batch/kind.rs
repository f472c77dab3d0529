//! The kinds of migration batches, as Microsoft documents them: attributes, and limits where there are any.

use std::fmt;
use std::str::FromStr;

/// What is migrated, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationKind {
    /// Exchange 2003 or 2007 to Exchange Online, in stages.
    Staged,
    /// Mail from any IMAP server.
    Imap,
    /// A hybrid remote move to Exchange Online.
    Onboarding,
    /// A hybrid remote move back.
    Offboarding,
    /// A move between two forests of one's own servers.
    CrossForest,
    /// A move between databases of one's own servers.
    Local,
    /// Google Workspace.
    Google,
    /// Between two tenants.
    CrossTenant,
    /// Public folders to public folder mailboxes.
    PublicFolders,
    /// Public folders to Microsoft 365 groups.
    PublicFolderGroups,
    /// The mapping file of a PST import.
    Pst,
}

/// Whether a cell must be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// In every row.
    Required,
    /// In every row, unless the batch itself gives the value.
    RequiredOrOfBatch,
    /// The column must be there; a cell may be empty.
    Column,
    /// May be left out.
    Optional,
}

/// What a cell must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// An SMTP address.
    Address,
    /// An SMTP address or the GUID of a mailbox.
    AddressOrGuid,
    /// A login name at an IMAP server.
    Login,
    /// A password, kept byte for byte.
    Password,
    /// A password for a mailbox that is made: at least eight characters.
    NewPassword,
    /// `True` or `False`.
    TrueFalse,
    /// `TRUE`, `FALSE` or nothing.
    UpperTrueFalse,
    /// `Unlimited`, or a whole number from 0 to 2,147,483,647.
    ItemLimit,
    /// `PrimaryOnly`, `ArchiveOnly` or `PrimaryAndArchive`.
    MailboxType,
    /// The path of a public folder, such as `\Sales\EMEA`.
    PublicFolder,
    /// A path in the virtual shared folders of an IMAP server.
    UserRoot,
    /// The word `Exchange`.
    Workload,
    /// A folder in the uploaded files, or nothing.
    PstFolder,
    /// The name of a PST file.
    PstName,
    /// Nothing, `/`, or `/Name`.
    TargetRoot,
    /// The number of a code page.
    CodePage,
    /// Nothing.
    Blank,
    /// Any text.
    Free,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, in the one spelling that counts.
    pub name: &'static str,
    /// Whether it must be filled.
    pub need: Need,
    /// What it must be.
    pub form: ValueForm,
}

const fn column(name: &'static str, need: Need, form: ValueForm) -> Attribute {
    Attribute { name, need, form }
}

const EMAIL: Attribute = column("EmailAddress", Need::Required, ValueForm::Address);
const BAD_ITEMS: Attribute = column("BadItemLimit", Need::Optional, ValueForm::ItemLimit);
const LARGE_ITEMS: Attribute = column("LargeItemLimit", Need::Optional, ValueForm::ItemLimit);
const MAILBOX_TYPE: Attribute = column("MailboxType", Need::Optional, ValueForm::MailboxType);
const ARCHIVE_DATABASE: Attribute = column("TargetArchiveDatabase", Need::Optional, ValueForm::Free);

const STAGED: &[Attribute] = &[
    EMAIL,
    column("Password", Need::Optional, ValueForm::NewPassword),
    column("ForceChangePassword", Need::Optional, ValueForm::TrueFalse),
];
const IMAP: &[Attribute] = &[
    EMAIL,
    column("UserName", Need::Required, ValueForm::Login),
    column("Password", Need::Required, ValueForm::Password),
    column("UserRoot", Need::Optional, ValueForm::UserRoot),
];
const ONBOARDING: &[Attribute] = &[EMAIL, BAD_ITEMS, LARGE_ITEMS, MAILBOX_TYPE];
const OFFBOARDING: &[Attribute] = &[
    EMAIL,
    column("TargetDatabase", Need::RequiredOrOfBatch, ValueForm::Free),
    ARCHIVE_DATABASE,
    BAD_ITEMS,
    LARGE_ITEMS,
    MAILBOX_TYPE,
];
const CROSS_FOREST: &[Attribute] = &[
    EMAIL,
    column("TargetDatabase", Need::Optional, ValueForm::Free),
    ARCHIVE_DATABASE,
    BAD_ITEMS,
    LARGE_ITEMS,
    MAILBOX_TYPE,
];
const LOCAL: &[Attribute] =
    &[EMAIL, column("TargetDatabase", Need::Optional, ValueForm::Free), ARCHIVE_DATABASE, BAD_ITEMS, MAILBOX_TYPE];
const GOOGLE: &[Attribute] = &[EMAIL, column("Username", Need::Optional, ValueForm::Address)];
const PUBLIC_FOLDERS: &[Attribute] = &[
    column("FolderPath", Need::Required, ValueForm::PublicFolder),
    column("TargetMailbox", Need::Required, ValueForm::Free),
];
const PUBLIC_FOLDER_GROUPS: &[Attribute] = &[
    column("FolderPath", Need::Required, ValueForm::PublicFolder),
    column("TargetGroupMailbox", Need::Required, ValueForm::Address),
];
const PST: &[Attribute] = &[
    column("Workload", Need::Required, ValueForm::Workload),
    column("FilePath", Need::Column, ValueForm::PstFolder),
    column("Name", Need::Required, ValueForm::PstName),
    column("Mailbox", Need::Required, ValueForm::AddressOrGuid),
    column("IsArchive", Need::Column, ValueForm::UpperTrueFalse),
    column("TargetRootFolder", Need::Column, ValueForm::TargetRoot),
    column("ContentCodePage", Need::Optional, ValueForm::CodePage),
    column("SPFileContainer", Need::Column, ValueForm::Blank),
    column("SPManifestContainer", Need::Column, ValueForm::Blank),
    column("SPSiteUrl", Need::Column, ValueForm::Blank),
];

impl MigrationKind {
    /// All kinds, in the order of the manual.
    pub const ALL: [Self; 11] = [
        Self::Staged,
        Self::Imap,
        Self::Onboarding,
        Self::Offboarding,
        Self::CrossForest,
        Self::Local,
        Self::Google,
        Self::CrossTenant,
        Self::PublicFolders,
        Self::PublicFolderGroups,
        Self::Pst,
    ];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Imap => "imap",
            Self::Onboarding => "onboarding",
            Self::Offboarding => "offboarding",
            Self::CrossForest => "cross-forest",
            Self::Local => "local",
            Self::Google => "google",
            Self::CrossTenant => "cross-tenant",
            Self::PublicFolders => "public-folders",
            Self::PublicFolderGroups => "public-folder-groups",
            Self::Pst => "pst",
        }
    }

    /// Returns what it is, as a fragment of a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Staged => "a staged migration from Exchange 2003 or 2007",
            Self::Imap => "an IMAP migration",
            Self::Onboarding => "a remote move to Exchange Online",
            Self::Offboarding => "a remote move from Exchange Online back to one's own servers",
            Self::CrossForest => "a move between two forests",
            Self::Local => "a move between databases of one's own servers",
            Self::Google => "a migration from Google Workspace",
            Self::CrossTenant => "a move between two tenants",
            Self::PublicFolders => "a migration of public folders to public folder mailboxes",
            Self::PublicFolderGroups => "a migration of public folders to Microsoft 365 groups",
            Self::Pst => "the mapping of a PST import",
        }
    }

    /// Returns the columns it knows, in the order in which they are documented.
    #[must_use]
    pub fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::Staged => STAGED,
            Self::Imap => IMAP,
            Self::Onboarding | Self::CrossTenant => ONBOARDING,
            Self::Offboarding => OFFBOARDING,
            Self::CrossForest => CROSS_FOREST,
            Self::Local => LOCAL,
            Self::Google => GOOGLE,
            Self::PublicFolders => PUBLIC_FOLDERS,
            Self::PublicFolderGroups => PUBLIC_FOLDER_GROUPS,
            Self::Pst => PST,
        }
    }

    /// Returns the attribute of a name, in exactly this spelling.
    #[must_use]
    pub fn attribute(self, name: &str) -> Option<&'static Attribute> {
        self.attributes().iter().find(|attribute| attribute.name == name)
    }

    /// Returns the column that no two rows may share.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::PublicFolders | Self::PublicFolderGroups => "FolderPath",
            Self::Pst => "Name",
            Self::Staged
            | Self::Imap
            | Self::Onboarding
            | Self::Offboarding
            | Self::CrossForest
            | Self::Local
            | Self::Google
            | Self::CrossTenant => "EmailAddress",
        }
    }

    /// Returns how many rows a file may have, where that is documented.
    #[must_use]
    pub fn rows_max(self) -> Option<u64> {
        match self {
            Self::Staged => Some(2_000),
            Self::Imap => Some(50_000),
            Self::PublicFolderGroups | Self::Pst => Some(500),
            Self::Onboarding
            | Self::Offboarding
            | Self::CrossForest
            | Self::Local
            | Self::Google
            | Self::CrossTenant
            | Self::PublicFolders => None,
        }
    }

    /// Returns how many bytes a file may have, header included, where that is documented. "10 MB" is read as ten
    /// million bytes, the smaller meaning.
    #[must_use]
    pub fn bytes_max(self) -> Option<u64> {
        match self {
            Self::Imap => Some(10_000_000),
            Self::Staged
            | Self::Onboarding
            | Self::Offboarding
            | Self::CrossForest
            | Self::Local
            | Self::Google
            | Self::CrossTenant
            | Self::PublicFolders
            | Self::PublicFolderGroups
            | Self::Pst => None,
        }
    }
}

impl fmt::Display for MigrationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such kind of batch; there are staged, imap, onboarding, offboarding, cross-forest, local, google, \
     cross-tenant, public-folders, public-folder-groups, pst"
)]
pub struct UnknownKind;

impl FromStr for MigrationKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

/// Returns a name as it is compared to find what was meant: without what people put between words, in lower case.
#[must_use]
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '_' | '-' | '\u{a0}' | '.')).flat_map(char::to_lowercase).collect()
}

/// Says whether any kind has an attribute that is meant by a name, whatever its case and spaces.
#[must_use]
pub fn is_attribute_of_any(name: &str) -> bool {
    let folded_name = folded(name);
    MigrationKind::ALL
        .iter()
        .any(|kind| kind.attributes().iter().any(|attribute| folded(attribute.name) == folded_name))
}
