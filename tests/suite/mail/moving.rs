//! What the mover makes of servers that name folders, number messages and send texts in ways of their own.

use std::sync::Arc;

use retention_core::id::EntityId;
use retention_tests::scripted::{Act, GREETING, Rule, Scripted};
use retentiond::clock::WallClock;
use retentiond::config::MailServer;
use retentiond::connector::imap::{Connector, ImapMover, MailboxAccess, MailboxDirectory};
use retentiond::connector::mail::{MailFailure, MailFolder, MessageState, Registered};
use retentiond::connector::moving::{Copied, Mover as _, Moving, Side};
use retentiond::connector::outcome::Refusal;

const SOURCE: EntityId = EntityId(1);
const TARGET: EntityId = EntityId(2);

/// One mailbox on each of two servers.
struct Two([MailboxAccess; 2]);

impl MailboxDirectory for Two {
    fn registered(&self) -> Vec<Registered> {
        Vec::new()
    }

    fn access(&self, mailbox: EntityId) -> Result<MailboxAccess, Refusal> {
        let [source, target] = &self.0;
        Ok(if mailbox == SOURCE { source.clone() } else { target.clone() })
    }

    fn server_of(&self, _mailbox: EntityId) -> Option<Arc<MailServer>> {
        None
    }

    fn access_as(&self, _mailbox: EntityId, _identifier: &str) -> Option<MailboxAccess> {
        None
    }
}

/// Opens both mailboxes and does something; returns what the target heard, too.
fn between<T>(source: Vec<Rule>, target: Vec<Rule>, then: impl FnOnce(&mut dyn Moving) -> T) -> (T, Vec<String>) {
    let (source, target) = (Scripted::start(source), Scripted::start(target));
    let directory = Two([source.access("source"), target.access("target")]);
    let connector = Connector::new(Arc::new(WallClock), Arc::new(|| 7));
    let mover = ImapMover::new(Arc::new(connector), Arc::new(directory));
    let mut moving = mover.open(SOURCE, TARGET).map_err(MailFailure::code).expect("two sessions");
    let result = then(moving.as_mut());
    drop(moving);
    (result, target.heard())
}

fn folder(name: &str) -> MailFolder {
    MailFolder { name: name.to_owned(), special_use: std::collections::BTreeSet::new() }
}

#[test]
fn no_other_folders_are_made_for_one_whose_name_the_target_would_divide() {
    let namespace = Rule::when("NAMESPACE", vec![Act::say("* NAMESPACE ((\"\" \".\")) NIL NIL\r\n{tag} OK\r\n")]);
    let list = Rule::when("LIST", vec![Act::say("* LIST () \".\" INBOX\r\n{tag} OK\r\n")]);
    let (made, heard) = between(vec![], vec![namespace, list], |moving| {
        moving.counterpart(&folder("Projects/v1.2")).map_err(MailFailure::code)
    });
    assert_eq!(made, Err("mail-folder-not-made"));
    assert!(!heard.iter().any(|line| line.starts_with("CREATE")), "{heard:?}");
}

#[test]
fn a_target_that_takes_capital_and_small_letters_for_the_same_keeps_one_folder_of_both() {
    let list = Act::say("* LIST () \"/\" INBOX\r\n* LIST () \"/\" Projects\r\n{tag} OK\r\n");
    let counterpart = |code: &str| {
        let create = Rule::when("CREATE", vec![Act::say(&format!("{{tag}} NO {code}it is there\r\n"))]);
        let target = vec![create, Rule::when("LIST", vec![list.clone()])];
        let wish = |name: &str| {
            let (into, _) = between(vec![], target.clone(), |moving| moving.counterpart(&folder(name)));
            into.map_err(MailFailure::code)
        };
        [wish("projects"), wish("PROJECTS/2019")]
    };
    assert_eq!(counterpart("[ALREADYEXISTS] "), [Ok("Projects".to_owned()), Err("mail-already-exists")]);
    assert_eq!(counterpart(""), [Ok("Projects".to_owned()), Err("mail-folder-not-made")]);
}

#[test]
fn a_folder_that_is_listed_and_does_not_open_is_told_and_one_that_went_is_not_there() {
    let list =
        |folder: &str| Rule::when("LIST", vec![Act::say(&format!("* LIST () \"/\" INBOX\r\n{folder}{{tag}} OK\r\n"))]);
    let listed = || list("* LIST () \"/\" Work\r\n");
    let no = || Rule::when("EXAMINE \"WORK\"", vec![Act::say("{tag} NO no\r\n")]);
    let open = |source: Vec<Rule>, path: &str, into: &str| {
        let (pair, _) = between(source, vec![], |moving| moving.open_pair(path, into).map_err(MailFailure::code));
        pair.map(|pair| pair.is_some())
    };
    assert_eq!(open(vec![no(), listed()], "Work", "INBOX"), Err("mail-folder-closed"));
    assert_eq!(open(vec![no(), listed().times(1), list("")], "Work", "INBOX"), Ok(false));
    let a_name = list("* LIST (\\Noselect) \"/\" Work\r\n");
    assert_eq!(open(vec![no(), a_name], "Work", "INBOX"), Ok(false));
    assert_eq!(open(vec![], "INBOX", "Work"), Err("mail-folder-missing"));
    // One of the target keeps no other back either.
    let into = |answer: &str| {
        let no = Rule::when("SELECT \"WORK\"", vec![Act::say(answer)]);
        let opened = |moving: &mut dyn Moving| moving.open_pair("INBOX", "Work").map_err(MailFailure::code);
        between(vec![], vec![no, listed()], opened).0.map(|pair| pair.is_some())
    };
    assert_eq!(into("{tag} NO [NOPERM] no\r\n"), Err("mail-folder-closed"));
    assert_eq!(into("{tag} NO no\r\n"), Err("mail-folder-closed"));
    assert_eq!(into("{tag} NO [NONEXISTENT] no\r\n"), Err("mail-folder-missing"));
    assert_eq!(into("{tag} NO [UNAVAILABLE] no\r\n"), Err("mail-server-unavailable"));
}

#[test]
fn the_next_number_of_a_target_that_does_not_tell_it_follows_the_last_that_there_is() {
    let open = "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n{tag} OK [READ-WRITE] open\r\n";
    let target = vec![
        Rule::when("SELECT", vec![Act::say(open)]),
        Rule::when("UID SEARCH", vec![Act::say("* SEARCH 4 9\r\n{tag} OK\r\n")]),
    ];
    let (pair, _) = between(vec![], target, |moving| moving.open_pair("INBOX", "INBOX").map_err(MailFailure::code));
    assert_eq!(pair.map(|pair| pair.map(|pair| pair.target.uid_next)), Ok(Some(10)));
}

#[test]
fn a_message_that_exchange_does_not_send_is_not_gone_and_is_like_none_at_the_target() {
    let told = "* 1 FETCH (UID 4 FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 900";
    let notice = "From: Microsoft Exchange Server\r\n\r\nThe message hasn't been deleted.\r\n";
    let body = format!("* 1 FETCH (UID 4 BODY[] {{{}}}\r\n{notice})\r\n{{tag}} OK\r\n", notice.len());
    // It tells nothing of some, and sends a notice in the place of others.
    for answer in ["{tag} OK\r\n", &body] {
        let says = "* OK [CAPABILITY IMAP4rev1 UIDPLUS] The Microsoft Exchange IMAP4 service is ready.\r\n";
        let open = "* 1 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 5] x\r\n{tag} OK [READ-ONLY] open\r\n";
        let header = format!("{told} BODY[HEADER.FIELDS (FROM)] \"\")\r\n{{tag}} OK\r\n");
        let source = vec![
            Rule::when(GREETING, vec![Act::say(says)]),
            Rule::when("EXAMINE", vec![Act::say(open)]),
            Rule::when("BODY.PEEK[]", vec![Act::say(answer)]),
            Rule::when("BODY.PEEK[HEADER", vec![Act::say(&header)]),
            Rule::when("UID FETCH", vec![Act::say(&format!("{told})\r\n{{tag}} OK\r\n"))]),
            Rule::when("UID SEARCH", vec![Act::say("* SEARCH 4\r\n{tag} OK\r\n")]),
        ];
        let open = "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 1] x\r\n{tag} OK [READ-WRITE] open\r\n";
        let target = vec![Rule::when("SELECT", vec![Act::say(open)])];
        let ((copied, prints), heard) = between(source, target, |moving| {
            moving.open_pair("INBOX", "INBOX").expect("both").expect("a folder");
            let mut messages: Vec<MessageState> = Vec::new();
            let listed = moving.messages(0, 10, &mut |message| {
                messages.push(message);
                std::ops::ControlFlow::Continue(())
            });
            assert!(listed.is_ok() && messages.len() == 1);
            let copied = messages.iter().map(|message| moving.copy(message).map_err(MailFailure::code));
            let copied: Vec<Result<Copied, &str>> = copied.collect();
            let mut prints = Vec::new();
            let told = moving.prints(Side::Source, 0, &mut |uid, print| {
                prints.push((uid, print.text.0 == [0; 32]));
                std::ops::ControlFlow::Continue(())
            });
            assert!(told.is_ok());
            (copied, prints)
        });
        assert_eq!(copied, [Err("mail-text-withheld")]);
        assert_eq!(prints, [(4, true)]);
        assert!(!heard.iter().any(|line| line.starts_with("APPEND")), "{heard:?}");
    }
}
