//! Folders: what belongs to the mailbox, and what it is called apart from how one logged in.

use super::answer::{Listed, Namespace};
use super::utf7;

/// A folder of the mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its name as commands of this session write it.
    pub name: String,
    /// Its path, the same for every way of logging in: `INBOX`, `Projects/2019`. `/` and `\` inside a part are written
    /// `\/` and `\\`.
    pub path: String,
    /// The character between the parts of its name.
    pub delimiter: Option<char>,
    /// Whether it holds messages at all.
    pub selectable: bool,
    /// What it is for, if the server says (RFC 6154).
    pub special_use: Option<SpecialUse>,
}

impl Folder {
    /// Whether it only shows messages that lie in other folders, under other numbers (RFC 6154): what is removed in it
    /// is removed there.
    #[must_use]
    pub fn is_view(&self) -> bool {
        matches!(self.special_use, Some(SpecialUse::All | SpecialUse::Flagged))
    }
}

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecialUse {
    /// Everything.
    All,
    /// The archive.
    Archive,
    /// Drafts.
    Drafts,
    /// Flagged messages.
    Flagged,
    /// Spam.
    Junk,
    /// Sent messages.
    Sent,
    /// Deleted messages.
    Trash,
}

impl SpecialUse {
    /// All of them, with the attribute that says each.
    pub const ALL: &[(Self, &str)] = &[
        (Self::All, "\\All"),
        (Self::Archive, "\\Archive"),
        (Self::Drafts, "\\Drafts"),
        (Self::Flagged, "\\Flagged"),
        (Self::Junk, "\\Junk"),
        (Self::Sent, "\\Sent"),
        (Self::Trash, "\\Trash"),
    ];

    /// Returns its attribute.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        Self::ALL.iter().find(|(this, _)| *this == self).map_or("", |(_, attribute)| attribute)
    }

    fn of(attributes: &[String]) -> Option<Self> {
        let says = |attribute: &str| attributes.iter().any(|said| said.eq_ignore_ascii_case(attribute));
        Self::ALL.iter().find(|(_, attribute)| says(attribute)).map(|(this, _)| *this)
    }
}

/// Where the folders of the mailbox begin in this session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Root {
    inbox: String,
    is_own: bool,
    /// Prefixes of what belongs to the mailbox.
    prefixes: Vec<String>,
    /// Prefixes of what does not.
    foreign: Vec<String>,
    delimiter: Option<char>,
}

impl Root {
    /// The personal folders of whoever logged in.
    pub(super) fn own(namespaces: Option<&[Vec<Namespace>; 3]>) -> Self {
        let prefixes = |namespaces: &[Namespace]| namespaces.iter().map(|namespace| namespace.prefix.clone()).collect();
        let (own, foreign, delimiter) = match namespaces {
            Some([personal, others, shared]) => {
                let mut foreign: Vec<String> = prefixes(others);
                foreign.extend(prefixes(shared));
                (prefixes(personal), foreign, personal.first().and_then(|first| first.delimiter))
            }
            None => (vec![String::new()], Vec::new(), None),
        };
        Self { inbox: "INBOX".to_owned(), is_own: true, prefixes: own, foreign, delimiter }
    }

    /// The folders at and below a name.
    pub(super) fn at(name: &str, delimiter: Option<char>) -> Self {
        let prefixes = delimiter.map(|delimiter| format!("{name}{delimiter}")).into_iter().collect();
        Self { inbox: name.to_owned(), is_own: false, prefixes, foreign: Vec::new(), delimiter }
    }

    /// Returns the patterns that list all of them.
    pub(super) fn patterns(&self) -> Vec<String> {
        if self.is_own {
            return vec!["*".to_owned()];
        }
        let mut patterns = vec![self.inbox.clone()];
        patterns.extend(self.prefixes.iter().map(|prefix| format!("{prefix}*")));
        patterns
    }

    /// Says whether the folders of whoever logged in begin in several places.
    pub(super) fn has_several_places(&self) -> bool {
        self.is_own && self.prefixes.len() > 1
    }

    /// Returns the name of the inbox.
    pub(super) fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Returns the name of a folder by its path, for one that is to be made.
    pub(super) fn name_of(&self, path: &str) -> String {
        if path == "INBOX" {
            return self.inbox.clone();
        }
        let prefix = self.prefixes.first().map_or("", String::as_str);
        let delimiter = self.delimiter.unwrap_or('/').to_string();
        let parts: Vec<String> = parts_of(path).iter().map(|part| utf7::encode(part)).collect();
        format!("{prefix}{}", parts.join(&delimiter))
    }

    /// Says whether a folder with this path can be made: no part of it may hold what stands between the parts here.
    pub(super) fn can_name(&self, path: &str) -> bool {
        let delimiter = self.delimiter.unwrap_or('/');
        path == "INBOX" || parts_of(path).iter().all(|part| !utf7::encode(part).contains(delimiter))
    }

    /// Returns the folder that a line of `LIST` tells of, if it belongs to the mailbox.
    pub(super) fn folder(&self, listed: &Listed) -> Option<Folder> {
        let says = |attribute: &str| listed.attributes.iter().any(|said| said.eq_ignore_ascii_case(attribute));
        if says("\\NonExistent") {
            return None;
        }
        let path = self.path(&listed.name, listed.delimiter)?;
        Some(Folder {
            name: listed.name.clone(),
            path,
            delimiter: listed.delimiter,
            selectable: !says("\\Noselect"),
            special_use: SpecialUse::of(&listed.attributes),
        })
    }

    fn path(&self, name: &str, delimiter: Option<char>) -> Option<String> {
        let is_inbox = if self.is_own { name.eq_ignore_ascii_case("INBOX") } else { name == self.inbox };
        if is_inbox {
            return Some("INBOX".to_owned());
        }
        let length = |prefixes: &[String]| {
            prefixes.iter().filter(|prefix| name.starts_with(prefix.as_str())).map(|prefix| prefix.len()).max()
        };
        let own = length(&self.prefixes)?;
        // The folder that stands for a namespace is named as its prefix without the delimiter.
        let bare = delimiter.map(|delimiter| format!("{name}{delimiter}"));
        let is_bare = bare.is_some_and(|bare| self.foreign.contains(&bare));
        // An empty prefix of shared folders says nothing where there is a personal one.
        let foreign = length(&self.foreign).filter(|length| *length > 0);
        if is_bare || foreign.is_some_and(|foreign| foreign > own) {
            return None;
        }
        // Only the first prefix is left out: two personal namespaces may hold a folder of one name, such as an archive's.
        let left_out = self.prefixes.first().filter(|first| name.starts_with(first.as_str())).map_or(0, String::len);
        let inside = name.get(left_out..)?;
        let parts: Vec<String> = match delimiter {
            Some(delimiter) => inside.split(delimiter).map(|part| escaped(&utf7::decode(part))).collect(),
            None => vec![escaped(&utf7::decode(inside))],
        };
        let path = parts.join("/");
        // A folder that would be called as the inbox keeps its whole name.
        Some(if path.eq_ignore_ascii_case("INBOX") { escaped(&utf7::decode(name)) } else { path })
    }
}

fn escaped(part: &str) -> String {
    part.replace('\\', "\\\\").replace('/', "\\/")
}

/// Returns the parts of a path, as people read them.
#[must_use]
pub fn parts_of(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        match c {
            '/' => parts.push(String::new()),
            '\\' => parts.get_mut(last).into_iter().for_each(|part| part.extend(chars.next())),
            c => parts.get_mut(last).into_iter().for_each(|part| part.push(c)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn namespaces(personal: &str, others: &str, shared: &str, delimiter: char) -> [Vec<Namespace>; 3] {
        [personal, others, shared].map(|prefix| {
            if prefix == "-" {
                return Vec::new();
            }
            vec![Namespace { prefix: prefix.to_owned(), delimiter: Some(delimiter) }]
        })
    }

    fn listed(name: &str, delimiter: char) -> Listed {
        Listed { attributes: Vec::new(), delimiter: Some(delimiter), name: name.to_owned() }
    }

    fn paths(root: &Root, names: &[&str], delimiter: char) -> Vec<Option<String>> {
        names.iter().map(|name| root.folder(&listed(name, delimiter)).map(|folder| folder.path)).collect()
    }

    #[test]
    fn paths_are_the_same_on_every_server_and_foreign_folders_are_left_out() {
        let wanted = |path: &str| Some(path.to_owned());
        let dovecot = Root::own(Some(&namespaces("", "shared/", "-", '/')));
        assert_eq!(
            paths(&dovecot, &["INBOX", "Projects/2019", "shared", "shared/user1", "shared2"], '/'),
            [wanted("INBOX"), wanted("Projects/2019"), None, None, wanted("shared2")]
        );
        let cyrus = Root::own(Some(&namespaces("INBOX/", "user/", "", '/')));
        assert_eq!(
            paths(&cyrus, &["INBOX", "INBOX/Projects/2019", "user/user1", "Public"], '/'),
            [wanted("INBOX"), wanted("Projects/2019"), None, None]
        );
        let courier = Root::own(Some(&namespaces("INBOX.", "#shared.", "shared.", '.')));
        assert_eq!(
            paths(&courier, &["INBOX", "INBOX.Projects.2019", "INBOX.a/b", "#shared.user1", "INBOX.INBOX"], '.'),
            [wanted("INBOX"), wanted("Projects/2019"), wanted("a\\/b"), None, wanted("INBOX.INBOX")]
        );
        let mut two = namespaces("", "-", "-", '/');
        two[0].push(Namespace { prefix: "Archives/".to_owned(), delimiter: Some('/') });
        assert_eq!(
            paths(&Root::own(Some(&two)), &["2019", "Archives/2019", "Archives"], '/'),
            [wanted("2019"), wanted("Archives/2019"), wanted("Archives")]
        );
        two[0][0].prefix = "INBOX/".to_owned();
        assert_eq!(
            paths(&Root::own(Some(&two)), &["INBOX/2019", "Archives/2019", "Other"], '/'),
            [wanted("2019"), wanted("Archives/2019"), None]
        );
        let user_root = Root::at("#shared.user1", Some('.'));
        assert_eq!(
            paths(&user_root, &["#shared.user1", "#shared.user1.Projects.2019", "#shared.user12", "INBOX"], '.'),
            [wanted("INBOX"), wanted("Projects/2019"), None, None]
        );
        assert_eq!(user_root.name_of("Projects/2020"), "#shared.user1.Projects.2020");
        assert!(user_root.can_name("Projects/2020") && !user_root.can_name("Projects/v1.2"));
        assert!(cyrus.can_name("Projects/v1.2") && !cyrus.can_name("a\\/b"));
        assert_eq!(cyrus.name_of("Účty"), format!("INBOX/{}", utf7::encode("Účty")));
    }

    proptest! {
        #[test]
        fn parts_come_back_from_a_path(parts in proptest::collection::vec("[a-z/\\\\ .]{1,8}", 1..4)) {
            let path = parts.iter().map(|part| escaped(part)).collect::<Vec<_>>().join("/");
            prop_assert_eq!(parts_of(&path), parts);
        }
    }
}
