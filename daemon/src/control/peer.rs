//! Who is calling, and what they may do.
//!
//! The kernel tells the user and the primary group of the peer; `[control.roles]` tells the roles. Names are looked up
//! in `/etc/passwd` and `/etc/group` for each connection, so that somebody who is taken out of a group loses the role
//! with their next command. Users of a directory service are named by number: `uid:1000`.

use std::collections::BTreeSet;
use std::io::{self, Read};

use retention_core::control::Role;
use retention_core::event::operation::{RoleHolders, RolesDeclared};
use retention_core::id::Digest;

use crate::config::{self, Member, Roles};

/// The largest account file that is read, in bytes: some hundred thousand accounts.
const ACCOUNTS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How many users, and how many groups, of one role the log lists: so many hold it that nobody reads on.
const HOLDERS_LISTED_MAX: usize = 1_000;

/// The other end of a connection, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
}

/// The accounts of this machine.
#[derive(Clone, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<(String, u32, Vec<String>)>,
}

#[derive(Clone)]
struct User {
    name: String,
    uid: u32,
    /// The primary group, where the line names one.
    gid: Option<u32>,
}

impl Accounts {
    /// Reads the accounts of this machine.
    ///
    /// # Errors
    /// Says which file cannot be read.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&read_bounded("/etc/passwd")?, &read_bounded("/etc/group")?))
    }

    /// Takes the accounts out of the text of `passwd(5)` and `group(5)`. Lines that are not accounts are passed over.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, uid) = (fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?);
            Some(User { name, uid, gid: fields.next().and_then(|gid| gid.parse().ok()) })
        });
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, gid) = (fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?);
            let members = fields.next().unwrap_or_default().split(',').filter(|name| !name.is_empty());
            Some((name, gid, members.map(str::to_owned).collect()))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// Returns the number of a group.
    #[must_use]
    pub fn gid_of(&self, group: &str) -> Option<u32> {
        self.groups.iter().find(|(name, _, _)| name == group).map(|(_, gid, _)| *gid)
    }

    fn is_named(&self, peer: Peer, name: &str) -> bool {
        self.users.iter().any(|user| user.uid == peer.uid && user.name == name)
    }

    fn is_in_group(&self, peer: Peer, group: &str) -> bool {
        self.groups
            .iter()
            .filter(|(name, _, _)| name == group)
            .any(|(_, gid, members)| *gid == peer.gid || members.iter().any(|member| self.is_named(peer, member)))
    }

    fn holders(&self, members: &[Member]) -> RoleHolders {
        let (mut names, mut users, mut groups) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for member in members {
            match member {
                Member::User(name) => {
                    names.insert(name.as_str());
                }
                Member::Uid(uid) => {
                    users.insert(*uid);
                }
                Member::Group(group) => {
                    for (_, gid, listed) in self.groups.iter().filter(|(name, _, _)| name == group) {
                        groups.insert(*gid);
                        names.extend(listed.iter().map(String::as_str));
                    }
                }
            }
        }
        let is_meant =
            |user: &&User| names.contains(user.name.as_str()) || user.gid.is_some_and(|gid| groups.contains(&gid));
        users.extend(self.users.iter().filter(is_meant).map(|user| user.uid));
        let listed = |ids: BTreeSet<u32>| ids.into_iter().take(HOLDERS_LISTED_MAX).collect::<Vec<_>>();
        let all = users.len() + groups.len();
        let (users, groups) = (listed(users), listed(groups));
        RoleHolders { more: (all - users.len() - groups.len()) as u64, users, groups }
    }

    fn covers(&self, member: &Member, peer: Peer) -> bool {
        match member {
            Member::User(name) => self.is_named(peer, name),
            Member::Uid(uid) => *uid == peer.uid,
            Member::Group(group) => self.is_in_group(peer, group),
        }
    }
}

fn read_bounded(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(ACCOUNTS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns what a peer may do, in the order of the roles.
///
/// root is an admin as long as the configuration names no admin: otherwise nobody could mend a fresh installation.
#[must_use]
pub fn roles_of(peer: Peer, roles: &Roles, accounts: &Accounts) -> Vec<Role> {
    let lists = [
        (Role::Auditor, &roles.auditor),
        (Role::Operator, &roles.operator),
        (Role::Approver, &roles.approver),
        (Role::Admin, &roles.admin),
    ];
    let has = |role: Role, members: &[Member]| {
        members.iter().any(|member| accounts.covers(member, peer))
            || (role == Role::Admin && members.is_empty() && peer.uid == 0)
    };
    lists.into_iter().filter(|(role, members)| has(*role, members)).map(|(role, _)| role).collect()
}

/// Returns who has which role, as the log says it: everybody to whom [`roles_of`] gives one, also whoever has a group
/// that is named as the primary one. Without accounts nobody is let in.
#[must_use]
pub fn declared(config: Digest, roles: &Roles, accounts: Option<&Accounts>) -> RolesDeclared {
    let holders = |members: &[Member]| accounts.map(|known| known.holders(members)).unwrap_or_default();
    let mut admin = holders(&roles.admin);
    if roles.admin.is_empty() && accounts.is_some() {
        admin.users.push(0);
    }
    let (auditor, operator) = (holders(&roles.auditor), holders(&roles.operator));
    RolesDeclared { config, auditor, operator, approver: holders(&roles.approver), admin }
}

/// Returns, in sentences, the accounts that `[control]` names and this machine does not know: nobody has a role by them.
#[must_use]
pub fn unknown_accounts(control: &config::Control) -> Vec<String> {
    Accounts::read().map(|accounts| unknown_to(&accounts, control)).unwrap_or_default()
}

fn unknown_to(accounts: &Accounts, control: &config::Control) -> Vec<String> {
    let mut unknown = Vec::new();
    for (role, members) in control.roles.all() {
        unknown.extend(members.iter().filter_map(|member| match member {
            Member::User(name) if !accounts.users.iter().any(|known| known.name == *name) => Some(format!(
                "[control.roles] {role}: there is no user {name} in /etc/passwd, so this gives nobody the role; name users of a directory service by number, as \"uid:1000\""
            )),
            Member::Group(name) if accounts.gid_of(name).is_none() => Some(format!(
                "[control.roles] {role}: there is no group {name} in /etc/group, so this gives nobody the role"
            )),
            Member::User(_) | Member::Group(_) | Member::Uid(_) => None,
        }));
    }
    let group = control.socket_group.as_ref().filter(|group| accounts.gid_of(group).is_none());
    unknown.extend(group.map(|group| {
        format!(
            "[control] socket_group: there is no group {group} in /etc/group, and the daemon does not start without it"
        )
    }));
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nclara:x:1001:1001::/:/bin/sh\nomar:x:1002:2000::/:/bin/sh\nbroken\n";
    const GROUP: &str = "officers:x:2000:\nauditors:x:2001:clara,nobody\n";

    fn roles() -> Roles {
        Roles {
            auditor: vec![Member::Group("auditors".to_owned())],
            operator: vec![Member::Group("officers".to_owned()), Member::Uid(4242)],
            approver: vec![Member::User("clara".to_owned())],
            admin: Vec::new(),
        }
    }

    fn ask(uid: u32, gid: u32, roles: &Roles) -> Vec<Role> {
        roles_of(Peer { uid, gid }, roles, &Accounts::parse(PASSWD, GROUP))
    }

    #[test]
    fn names_numbers_and_groups_give_roles() {
        assert_eq!(ask(1001, 1001, &roles()), [Role::Auditor, Role::Approver]);
        assert_eq!(ask(1002, 2000, &roles()), [Role::Operator]);
        assert_eq!(ask(4242, 9, &roles()), [Role::Operator]);
        assert_eq!(ask(9999, 9, &roles()), []);
    }

    #[test]
    fn root_is_admin_only_as_long_as_nobody_else_is() {
        assert_eq!(ask(0, 0, &roles()), [Role::Admin]);
        let named = Roles { admin: vec![Member::Uid(7)], ..roles() };
        assert_eq!(ask(0, 0, &named), []);
        assert_eq!(ask(7, 7, &named), [Role::Admin]);
    }

    #[test]
    fn what_names_nobody_on_this_machine_is_said() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let mut control = config::Control { socket: "/x".into(), socket_group: None, roles: roles() };
        assert_eq!(unknown_to(&accounts, &control), [] as [&str; 0]);
        control.roles.approver = vec![Member::User("klara".to_owned()), Member::Uid(77)];
        control.roles.auditor.push(Member::Group("auditor".to_owned()));
        control.socket_group = Some("sockets".to_owned());
        let said = unknown_to(&accounts, &control);
        for (said, about) in
            said.iter().zip(["auditor: there is no group auditor", "no user klara", "no group sockets"])
        {
            assert!(said.contains(about), "{said}");
        }
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn a_member_of_a_group_that_has_no_account_gives_nobody_a_role() {
        assert_eq!(ask(65534, 65534, &roles()), []);
    }

    fn told(roles: &Roles) -> RolesDeclared {
        declared(Digest([7; 32]), roles, Some(&Accounts::parse(PASSWD, GROUP)))
    }

    #[test]
    fn the_log_is_told_of_users_and_groups_by_number_and_of_root_while_there_is_no_administrator() {
        let told = told(&roles());
        assert_eq!(told.auditor, RoleHolders { users: vec![1001], groups: vec![2001], more: 0 });
        let officers = RoleHolders { users: vec![1002, 4242], groups: vec![2000], more: 0 };
        assert_eq!(told.operator, officers, "omar's primary group is that of the officers");
        assert_eq!(told.approver.to_string(), "uid:1001");
        assert_eq!(told.admin.to_string(), "uid:0");
        let unread = declared(Digest([7; 32]), &roles(), None);
        assert_eq!((unread.admin.to_string(), unread.auditor.users.len()), ("nobody".to_owned(), 0));
    }

    #[test]
    fn nobody_has_a_role_that_the_log_is_not_told_of() {
        let roles = Roles { admin: vec![Member::User("omar".to_owned()), Member::Group("none".to_owned())], ..roles() };
        let told = told(&roles);
        let lists = [&told.auditor, &told.operator, &told.approver, &told.admin];
        for (uid, gid) in [(0, 0), (1001, 1001), (1002, 2000), (4242, 9), (9999, 9), (9999, 2000), (9999, 2001)] {
            let holds = |list: &RoleHolders| list.users.contains(&uid) || list.groups.contains(&gid);
            let by_log: Vec<Role> =
                Role::ALL.into_iter().zip(lists).filter(|(_, list)| holds(list)).map(|(role, _)| role).collect();
            assert_eq!(ask(uid, gid, &roles), by_log, "{uid}:{gid}");
        }
    }

    #[test]
    fn of_a_crowd_the_log_lists_the_first_and_counts_the_rest() {
        let roles = Roles { operator: (0..1_005).map(Member::Uid).collect(), ..Roles::default() };
        let told = told(&roles);
        assert_eq!((told.operator.users.len(), told.operator.more), (1_000, 5));
        assert!(told.operator.to_string().ends_with(",uid:999,+5"));
    }

    proptest::proptest! {
        #[test]
        fn no_account_file_makes_the_reader_panic(passwd in ".{0,200}", group in "[a-z:,0-9\n]{0,200}") {
            let _ = roles_of(Peer { uid: 1, gid: 1 }, &roles(), &Accounts::parse(&passwd, &group));
        }
    }
}
