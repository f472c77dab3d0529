//! `New-MigrationBatch` for a file, ready to paste into PowerShell.

use super::kind::MigrationKind;

/// What the command says beside the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSettings {
    /// The name of the batch.
    pub name: String,
    /// The path of the file, as the machine that runs PowerShell sees it.
    pub file: String,
    /// The name of the migration endpoint.
    pub endpoint: Option<String>,
    /// The domain that remote moves deliver to.
    pub delivery_domain: Option<String>,
    /// The databases of rows that name none.
    pub target_databases: Vec<String>,
    /// Whether columns that are no attributes are ignored.
    pub unknown_columns: super::UnknownColumns,
}

/// There is no command to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// PST files.
    #[error(
        "a PST import is no migration batch: upload the mapping file in the Purview portal (Data lifecycle management, \
         Import)"
    )]
    Pst,
    /// The name.
    #[error("the name of a batch has letters, digits, - and _ only, and at least one")]
    Name,
    /// A value that could end the line.
    #[error("a value holds a control character; the command could then mean something else")]
    Control,
    /// An endpoint.
    #[error("this kind needs the name of a migration endpoint (Get-MigrationEndpoint)")]
    EndpointMissing,
    /// A domain.
    #[error("this kind needs a target delivery domain, such as contoso.mail.onmicrosoft.com")]
    DomainMissing,
}

/// Says whether a path means the same file wherever PowerShell is: `C:\x`, `\\server\share\x`, `/x`.
fn is_absolute(path: &str) -> bool {
    match path.as_bytes() {
        [b'\\' | b'/', ..] => true,
        [drive, b':', b'\\' | b'/', ..] => drive.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Returns the command, one parameter a line.
///
/// # Errors
/// Says what it needs.
pub fn new_migration_batch(kind: MigrationKind, settings: &CommandSettings) -> Result<String, CommandError> {
    if settings.name.is_empty() || !settings.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(CommandError::Name);
    }
    let source = || parameter("-SourceEndpoint", settings.endpoint.as_deref().ok_or(CommandError::EndpointMissing)?);
    let domain =
        || parameter("-TargetDeliveryDomain", settings.delivery_domain.as_deref().ok_or(CommandError::DomainMissing)?);
    let mut parts = vec![format!("New-MigrationBatch -Name {}", quoted(&settings.name)?)];
    let file = quoted(&settings.file)?;
    // .NET looks for a relative path in the directory of the process, and not where PowerShell is.
    let file = if is_absolute(&settings.file) { file } else { format!("(Convert-Path -LiteralPath {file})") };
    parts.push(format!("-CSVData ([System.IO.File]::ReadAllBytes({file}))"));
    match kind {
        MigrationKind::Pst => return Err(CommandError::Pst),
        MigrationKind::Staged | MigrationKind::Imap | MigrationKind::PublicFolders => parts.push(source()?),
        MigrationKind::Onboarding | MigrationKind::Google | MigrationKind::CrossTenant => {
            parts.extend([source()?, domain()?]);
        }
        MigrationKind::CrossForest => {
            parts.push(source()?);
            parts.extend(settings.delivery_domain.is_some().then(domain).transpose()?);
        }
        MigrationKind::Offboarding => {
            let endpoint = settings.endpoint.as_deref().ok_or(CommandError::EndpointMissing)?;
            parts.extend([parameter("-TargetEndpoint", endpoint)?, domain()?]);
        }
        MigrationKind::Local => parts.insert(1, "-Local".to_owned()),
        MigrationKind::PublicFolderGroups => {
            parts.extend([source()?, "-PublicFolderToUnifiedGroup".to_owned()]);
        }
    }
    if !settings.target_databases.is_empty() {
        let names: Result<Vec<String>, CommandError> =
            settings.target_databases.iter().map(|name| quoted(name)).collect();
        parts.push(format!("-TargetDatabases {}", names?.join(",")));
    }
    if settings.unknown_columns == super::UnknownColumns::Ignored {
        parts.push("-AllowUnknownColumnsInCsv $true".to_owned());
    }
    // Nobody's mailbox moves because a text was pasted: starting and completing are commands of their own.
    Ok(format!("{}\n# then: Start-MigrationBatch -Identity {}\n", parts.join(" `\n    "), quoted(&settings.name)?))
}

fn parameter(name: &str, value: &str) -> Result<String, CommandError> {
    Ok(format!("{name} {}", quoted(value)?))
}

/// Quotes a value for PowerShell: nothing inside single quotes is expanded. PowerShell takes the typographic quotes
/// U+2018 to U+201B for single quotes too, so each of them is doubled.
fn quoted(value: &str) -> Result<String, CommandError> {
    if value.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}')) {
        return Err(CommandError::Control);
    }
    let mut text = String::from("'");
    for c in value.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            text.push(c);
        }
        text.push(c);
    }
    text.push('\'');
    Ok(text)
}
