//! Rights on folders, RFC 4314. The forms over many folders send as many commands at once as the protocol allows.

use retention_core::mailbox::Rights;

use super::answer::Untagged;
use super::command::Command;
use super::error::MailError;
use super::session::Session;
use crate::connector::outcome::Retry;

/// Who has which rights on one folder.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Acl {
    /// Identifier and rights, in the order of identifiers. An identifier that begins with `-` takes rights away.
    pub entries: Vec<(String, Rights)>,
}

impl Acl {
    /// Whether an identifier is listed.
    #[must_use]
    pub fn has(&self, identifier: &str) -> bool {
        self.entries.iter().any(|(who, _)| who == identifier)
    }

    /// Returns the rights of an identifier; none when it is not listed.
    #[must_use]
    pub fn rights_of(&self, identifier: &str) -> Rights {
        self.entries.iter().find(|(who, _)| who == identifier).map_or(Rights::NONE, |(_, rights)| *rights)
    }
}

const NO_ACL: MailError = MailError::refused("mail-no-acl", Retry::Operator);
const INCOMPLETE: MailError = MailError::unknown("mail-answer-incomplete");

impl Session {
    /// Reads who has rights on a folder.
    ///
    /// # Errors
    /// Says why not; a server without ACL is a refusal.
    pub fn acl(&mut self, folder: &str) -> Result<Acl, MailError> {
        self.acls(&[folder]).pop().unwrap_or(Err(INCOMPLETE))
    }

    /// Reads who has rights on each of the folders, in their order.
    pub fn acls(&mut self, folders: &[&str]) -> Vec<Result<Acl, MailError>> {
        self.about_each(
            folders,
            |folder| Command::new("GETACL").folder(folder),
            |folder, answer| match answer {
                Untagged::Acl(found, entries) if same_folder(found, folder) => {
                    let mut entries: Vec<(String, Rights)> =
                        entries.iter().map(|(who, rights)| (who.clone(), Rights::parse(rights))).collect();
                    entries.sort();
                    Some(Acl { entries })
                }
                _ => None,
            },
        )
    }

    /// Reads what this login may do in a folder.
    ///
    /// # Errors
    /// Says why not.
    pub fn my_rights(&mut self, folder: &str) -> Result<Rights, MailError> {
        self.my_rights_on(&[folder]).pop().unwrap_or(Err(INCOMPLETE))
    }

    /// Reads what this login may do in each of the folders, in their order.
    pub fn my_rights_on(&mut self, folders: &[&str]) -> Vec<Result<Rights, MailError>> {
        self.about_each(
            folders,
            |folder| Command::new("MYRIGHTS").folder(folder),
            |folder, answer| match answer {
                Untagged::MyRights(found, rights) if same_folder(found, folder) => Some(Rights::parse(rights)),
                _ => None,
            },
        )
    }

    /// Sets the rights of an identifier on a folder to exactly these.
    ///
    /// # Errors
    /// Refused: nothing changed. Unknown: read back.
    pub fn set_acl(&mut self, folder: &str, identifier: &str, rights: Rights) -> Result<(), MailError> {
        self.set_acls(&[(folder, identifier, rights)]).pop().unwrap_or(Err(INCOMPLETE))
    }

    /// Sets rights on many folders. Each ends by itself: some may be applied and others not.
    pub fn set_acls(&mut self, wishes: &[(&str, &str, Rights)]) -> Vec<Result<(), MailError>> {
        let commands = wishes.iter().map(|(folder, identifier, rights)| {
            Command::new("SETACL").folder(folder).string(identifier).string(&rights.to_string())
        });
        self.change_each(&commands.collect::<Vec<_>>())
    }

    /// Takes all rights of an identifier away, on many folders. Each ends by itself. That none were there is no error.
    pub fn delete_acls(&mut self, wishes: &[(&str, &str)]) -> Vec<Result<(), MailError>> {
        let commands =
            wishes.iter().map(|(folder, identifier)| Command::new("DELETEACL").folder(folder).string(identifier));
        self.change_each(&commands.collect::<Vec<_>>())
    }

    fn change_each(&mut self, commands: &[Command]) -> Vec<Result<(), MailError>> {
        if !self.capabilities.has("ACL") {
            return commands.iter().map(|_| Err(NO_ACL)).collect();
        }
        let mut heard = Vec::new();
        self.wire.run_all(commands, &mut heard).into_iter().map(|end| end.map(|_| ())).collect()
    }

    /// Asks the same about each folder. Answers are told apart by the folder that they name.
    fn about_each<T>(
        &mut self,
        folders: &[&str],
        command: impl Fn(&str) -> Command,
        read: impl Fn(&str, &Untagged) -> Option<T>,
    ) -> Vec<Result<T, MailError>> {
        if !self.capabilities.has("ACL") {
            return folders.iter().map(|_| Err(NO_ACL)).collect();
        }
        let commands: Vec<Command> = folders.iter().map(|folder| command(folder)).collect();
        let mut heard = Vec::new();
        let ends = self.wire.run_all(&commands, &mut heard);
        folders
            .iter()
            .zip(ends)
            .map(|(folder, end)| {
                let _code = end.map_err(MailError::of_a_question)?;
                heard.iter().rev().find_map(|answer| read(folder, answer)).ok_or(INCOMPLETE.of_a_question())
            })
            .collect()
    }
}

/// Whether an answer is about the folder that was asked about. Only the inbox may come back in another case.
fn same_folder(found: &str, asked: &str) -> bool {
    found == asked || (asked.eq_ignore_ascii_case("INBOX") && found.eq_ignore_ascii_case("INBOX"))
}
