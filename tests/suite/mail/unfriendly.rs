//! What the adapters make of a server that says what no real one says: goodbye in the middle, no room, somebody else at
//! work, nothing at all, too much. Nothing is believed that was not said, and everything ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use retention_core::event::saga::Residue;
use retention_core::id::EntityId;
use retention_core::mailbox::Rights;
use retention_tests::scripted::{Act, CAPABILITIES, GREETING, Rule, Scripted};
use retentiond::clock::WallClock;
use retentiond::config::MailServer;
use retentiond::connector::access::{AccessTarget, FolderAccess};
use retentiond::connector::imap::{Connector, ImapAccess, ImapMailroom, MailboxAccess, MailboxDirectory};
use retentiond::connector::mail::{Depth, FolderState, MailFailure, MailSession, Mailroom, Registered, Which};
use retentiond::connector::outcome::{Outcome, Refusal};

use super::directory::keys;

/// The only mailbox that there is.
const MAILBOX: EntityId = EntityId(1);

struct One(MailboxAccess);

impl MailboxDirectory for One {
    fn registered(&self) -> Vec<Registered> {
        Vec::new()
    }

    fn access(&self, _mailbox: EntityId) -> Result<MailboxAccess, Refusal> {
        Ok(self.0.clone())
    }

    fn server_of(&self, _mailbox: EntityId) -> Option<Arc<MailServer>> {
        Some(Arc::clone(&self.0.server))
    }

    fn access_as(&self, _mailbox: EntityId, _identifier: &str) -> Option<MailboxAccess> {
        Some(MailboxAccess { user: "bob".to_owned(), ..self.0.clone() })
    }
}

fn reach(scripted: &Scripted) -> (ImapMailroom, ImapAccess) {
    let connector = Arc::new(Connector::new(Arc::new(WallClock), Arc::new(|| 0x5eed)));
    let directory: Arc<dyn MailboxDirectory> = Arc::new(One(scripted.access("scripted")));
    let mailroom = ImapMailroom::new(Arc::clone(&connector), Arc::clone(&directory), keys());
    (mailroom, ImapAccess::new(connector, directory, keys()))
}

/// A folder with three messages, open for changes.
fn select() -> Rule {
    let text = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 4] next\r\n{tag} OK [READ-WRITE] open\r\n";
    Rule::when("SELECT", vec![Act::say(text)])
}

fn told(uid: u32) -> String {
    format!(
        "* {uid} FETCH (UID {uid} FLAGS (\\Seen $Label) INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9)\r\n"
    )
}

/// Does something in the inbox of a server with these rules before the friendly ones.
fn in_inbox<T>(mut rules: Vec<Rule>, then: impl FnOnce(&mut dyn MailSession) -> T) -> (T, Vec<String>) {
    rules.push(select());
    let scripted = Scripted::start(rules);
    let (mailroom, _) = reach(&scripted);
    let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
    assert!(session.work_on("INBOX").is_ok_and(|state| state.is_some_and(|state| state.uid_validity == 7)));
    let result = then(session.as_mut());
    drop(session);
    (result, scripted.heard())
}

fn uids_told(session: &mut dyn MailSession, uids: &[u32]) -> Result<Vec<u32>, &'static str> {
    let mut found = Vec::new();
    let ended = session.messages(Which::Uids(uids), Depth::State, &mut |message| {
        assert!(message.standing.flags.contains("seen") && message.standing.keywords.contains("$Label"));
        found.push(message.uid);
        ControlFlow::Continue(())
    });
    ended.map(|()| found).map_err(MailFailure::code)
}

#[test]
fn a_message_that_is_not_told_is_gone_only_when_it_is_not_found_either() {
    let fetch = || Rule::when("UID FETCH", vec![Act::say(&format!("{}{}{{tag}} OK\r\n", told(1), told(3)))]);
    let search = |found: &str| Rule::when("UID SEARCH", vec![Act::say(&format!("* SEARCH{found}\r\n{{tag}} OK\r\n"))]);
    let ask = |rules| in_inbox(rules, |session| uids_told(session, &[1, 2, 3])).0;
    assert_eq!(ask(vec![fetch(), search("")]), Ok(vec![1, 3]));
    assert_eq!(ask(vec![fetch(), search(" 2")]), Err("mail-answer-incomplete"));
    assert_eq!(
        ask(vec![fetch(), Rule::when("UID SEARCH", vec![Act::say("{tag} OK\r\n")])]),
        Err("mail-answer-incomplete")
    );
    assert_eq!(
        ask(vec![fetch(), Rule::when("UID SEARCH", vec![Act::say("{tag} NO [INUSE] x\r\n")])]),
        Err("mail-folder-in-use")
    );
}

struct Nothing;

impl retentiond::connector::mail::TextSink for Nothing {
    fn begin(&mut self, _: u32, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn part(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn a_text_that_is_not_handed_out_although_the_message_is_there_is_withheld_and_not_gone() {
    let nil = Rule::when("UID FETCH", vec![Act::say("* 1 FETCH (UID 1 BODY[] NIL)\r\n{tag} OK\r\n")]);
    let search = Rule::when("UID SEARCH", vec![Act::say("* SEARCH 1\r\n{tag} OK\r\n")]);
    let (ended, _) =
        in_inbox(vec![nil, search], |session| session.texts(&[1], &mut Nothing).map_err(MailFailure::code));
    assert_eq!(ended, Ok(vec![1]));
}

#[test]
fn a_change_without_an_answer_is_lost_and_one_that_was_refused_is_not() {
    let bye = || vec![Act::say("* BYE restarting\r\n"), Act::Close];
    let no = |code: &str| vec![Act::say(&format!("{{tag}} NO [{code}] no\r\n"))];
    let cases = [
        (bye(), "mail-bye", true),
        (vec![Act::Close], "mail-closed", true),
        (vec![Act::say("* 1 EXP")], "", true),
        (no("OVERQUOTA"), "mail-over-quota", false),
        (no("INUSE"), "mail-folder-in-use", false),
        (no("EXPUNGEISSUED"), "mail-message-gone-meanwhile", true),
        (vec![Act::say("{tag} BAD what\r\n")], "mail-bad-command", false),
    ];
    for (mut acts, code, is_lost) in cases {
        if code.is_empty() {
            acts.push(Act::Close);
        }
        for verb in ["STORE", "EXPUNGE"] {
            let (failure, heard) = in_inbox(vec![Rule::when(&format!("UID {verb}"), acts.clone())], |session| {
                let ended = if verb == "STORE" {
                    session.flag_deleted(&[1, 2], None).map(drop)
                } else {
                    session.expunge(&[1, 2])
                };
                let failure = ended.expect_err("no answer");
                // The session says so from then on, and sends nothing more where it was lost.
                if is_lost && !acts.iter().any(|act| matches!(act, Act::Say(text) if text.starts_with(b"{tag}"))) {
                    assert!(matches!(session.expunge(&[1, 2]), Err(MailFailure::Refused(_))), "{verb} {code}");
                }
                failure
            });
            assert_eq!(matches!(failure, MailFailure::Lost(_)), is_lost, "{verb} {failure:?}");
            assert!(code.is_empty() || failure.code() == code, "{verb} {failure:?}");
            assert!(heard.iter().filter(|line| line.starts_with(&format!("UID {verb}"))).count() == 1, "{heard:?}");
        }
    }
}

#[test]
fn a_server_that_ends_an_idle_session_is_noticed_and_a_new_one_is_opened() {
    let once = Rule::when("UID FETCH", vec![Act::say("* BYE idle for too long\r\n"), Act::Close]).times(1);
    let fetch = Rule::when("UID FETCH", vec![Act::say(&format!("{}{{tag}} OK\r\n", told(1)))]);
    let scripted = Scripted::start(vec![once, fetch, select()]);
    let (mailroom, _) = reach(&scripted);
    let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
    assert!(session.work_on("INBOX").is_ok());
    assert_eq!(uids_told(session.as_mut(), &[1]), Err("mail-bye"));
    assert_eq!(uids_told(session.as_mut(), &[1]), Err("mail-closed"));
    let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("another");
    assert!(session.work_on("INBOX").is_ok());
    assert_eq!(uids_told(session.as_mut(), &[1]), Ok(vec![1]));
}

#[test]
fn an_endless_answer_ends() {
    // The last is given up by its bytes, long before there are too many answers.
    let long = format!("* LIST () \"/\" {}\r\n", "x".repeat(1 << 19)).into_bytes();
    let short = b"* LIST () \"/\" x\r\n".repeat(2_000);
    let lines = [b"* OK still here\r\n".repeat(2_000), short, vec![b'x'; 1 << 16], long];
    for line in lines {
        let scripted = Scripted::start(vec![Rule::when("LIST", vec![Act::Forever(line)])]);
        let (mailroom, access) = reach(&scripted);
        let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
        assert_eq!(session.folders().map(drop).map_err(MailFailure::code), Err("mail-too-much"));
        let mut session = access.open(MAILBOX).map_err(|refusal| refusal.code).expect("a session");
        assert_eq!(session.read("bob").map(drop).map_err(|refusal| refusal.code), Err("mail-too-much"));
    }
}

#[test]
fn a_folder_that_is_not_listed_is_gone_only_when_it_does_not_open_either() {
    let look = |answer: &str| {
        let scripted = Scripted::start(vec![Rule::when("EXAMINE \"HIDDEN\"", vec![Act::say(answer)])]);
        let (mailroom, _) = reach(&scripted);
        let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
        session.look_into("Hidden").map(|state| state.is_some()).map_err(MailFailure::code)
    };
    assert_eq!(look("* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n{tag} OK [READ-ONLY] open\r\n"), Ok(true));
    assert_eq!(look("{tag} NO [NONEXISTENT] no\r\n"), Ok(false));
    assert_eq!(look("{tag} NO no\r\n"), Ok(false));
    assert_eq!(look("{tag} NO [NOPERM] no\r\n"), Err("mail-no-right"));
    assert_eq!(look("{tag} NO [UNAVAILABLE] no\r\n"), Err("mail-server-unavailable"));
    // What is listed and does not open is there.
    let listed = Rule::when("EXAMINE \"INBOX\"", vec![Act::say("{tag} NO [NONEXISTENT] no\r\n")]);
    let scripted = Scripted::start(vec![listed]);
    let (mailroom, _) = reach(&scripted);
    let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
    assert_eq!(
        session.look_into("INBOX").map(|state| state.is_some()).map_err(MailFailure::code),
        Err("mail-folder-missing")
    );
}

#[test]
fn a_server_whose_expunge_keeps_the_message_is_never_asked_to() {
    for (capability, name) in [("XMAGICTRASH", "Courier-IMAP ready"), ("X-GM-EXT-1", "Gimap ready for requests")] {
        let greeting = format!("* OK [CAPABILITY IMAP4rev1 UIDPLUS ACL {capability}] {name}\r\n");
        let login = format!("{{tag}} OK [CAPABILITY IMAP4rev1 UIDPLUS ACL {capability}] in\r\n");
        let rules = vec![Rule::when(GREETING, vec![Act::say(&greeting)]), Rule::when("LOGIN", vec![Act::say(&login)])];
        let (ended, heard) = in_inbox(rules, |session| {
            assert!(!session.can_expunge_exactly());
            session.expunge(&[1]).map_err(MailFailure::code)
        });
        assert_eq!(ended, Err("mail-expunge-keeps"), "{capability}");
        assert!(!heard.iter().any(|line| line.contains("EXPUNGE")), "{heard:?}");
    }
}

#[test]
fn what_is_made_up_of_a_message_that_was_just_removed_is_not_believed() {
    // As Dovecot answers.
    let answer = |header: &str| {
        format!(
            "{}* 2 FETCH (UID 2 FLAGS (\\Deleted) INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" RFC822.SIZE 0{header})\r\n\
             * 2 EXPUNGE\r\n{{tag}} OK [EXPUNGEISSUED] gone\r\n",
            if header.is_empty() { told(1) } else { told(1).replace(")\r\n", " BODY[HEADER.FIELDS (FROM)] \"\")\r\n") },
        )
    };
    for (depth, header) in [(Depth::State, ""), (Depth::Record, " BODY[HEADER.FIELDS (FROM)] NIL")] {
        for (found, expected) in [("", &[1][..]), (" 2", &[1, 2])] {
            let rules = vec![
                Rule::when("UID FETCH", vec![Act::say(&answer(header))]),
                Rule::when("UID SEARCH", vec![Act::say(&format!("* SEARCH{found}\r\n{{tag}} OK\r\n"))]),
            ];
            let (uids, _) = in_inbox(rules, |session| {
                let mut uids = Vec::new();
                let ended = session.messages(Which::Uids(&[1, 2]), depth, &mut |message| {
                    uids.push(message.uid);
                    ControlFlow::Continue(())
                });
                ended.map(|()| uids).map_err(MailFailure::code)
            });
            assert_eq!(uids, Ok(expected.to_vec()), "{depth:?}");
        }
    }
}

/// Keeps texts that came whole.
#[derive(Default)]
struct Whole(Vec<(u32, Vec<u8>)>);

impl retentiond::connector::mail::TextSink for Whole {
    fn begin(&mut self, uid: u32, _: u64) -> ControlFlow<()> {
        self.0.push((uid, Vec::new()));
        ControlFlow::Continue(())
    }

    fn part(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.0.last_mut().expect("a text").1.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// What Exchange sends in the place of a message that it cannot turn into mail.
const NOTICE: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nFrom: Microsoft Exchange Server 2010\r\nTo: ada\r\n\
                      Subject: Retrieval using the IMAP4 protocol failed for the following\r\n message: 2\r\n\r\n\
                      The message hasn't been deleted.\r\n";

#[test]
fn the_notice_of_exchange_in_the_place_of_a_message_is_no_text_and_no_header_of_it() {
    let exchange = "* OK [CAPABILITY IMAP4rev1 UIDPLUS] The Microsoft Exchange IMAP4 service is ready.\r\n";
    let body = |uid: u32, text: &str| format!("* {uid} FETCH (UID {uid} BODY[] {{{}}}\r\n{text})\r\n", text.len());
    let mail = "From: a@example.org\r\n\r\nFrom: Microsoft Exchange Server\r\n";
    let all = format!("{}{}{}{{tag}} OK\r\n", body(1, mail), body(2, NOTICE), body(3, ""));
    let alone = format!("{}{{tag}} OK\r\n", body(2, NOTICE));
    let there = Rule::when("UID SEARCH UID 2", vec![Act::say("* SEARCH 2\r\n{tag} OK\r\n")]);
    let told = |uid: u32, header: &str| {
        let standing = "FLAGS () INTERNALDATE \"01-Jan-2015 10:00:00 +0000\" RFC822.SIZE 9";
        let length = header.len();
        format!("* {uid} FETCH (UID {uid} {standing} BODY[HEADER.FIELDS (FROM TO)] {{{length}}}\r\n{header})\r\n")
    };
    let heads = format!("{}{}{{tag}} OK\r\n", told(1, "From: a@example.org\r\n\r\n"), told(2, NOTICE));
    let rules = vec![
        Rule::when(GREETING, vec![Act::say(exchange)]),
        Rule::when("UID FETCH 1:3 (UID BODY.PEEK[])", vec![Act::say(&all)]),
        Rule::when("UID FETCH 2 (UID BODY.PEEK[])", vec![Act::say(&alone)]),
        Rule::when("UID FETCH 1:2 (", vec![Act::say(&heads)]),
        there,
    ];
    let ((withheld, texts, headers), _) = in_inbox(rules, |session| {
        let mut texts = Whole::default();
        let withheld = session.texts(&[1, 2, 3], &mut texts).map_err(MailFailure::code);
        let mut headers = Vec::new();
        let told = session.messages(Which::Uids(&[1, 2]), Depth::Record, &mut |message| {
            headers.push((message.uid, message.correspondents.is_some()));
            ControlFlow::Continue(())
        });
        assert!(told.is_ok());
        assert!(!session.tells_exact_sizes());
        (withheld, texts.0, headers)
    });
    assert_eq!(withheld, Ok(vec![2]));
    assert_eq!(texts, [(1, mail.as_bytes().to_vec()), (3, Vec::new())]);
    assert_eq!(headers, [(1, true), (2, false)]);
}

#[test]
fn what_is_removed_while_a_large_folder_is_searched_lets_no_other_slip_through() {
    // Two windows. When the first answer came, a message before all others was removed, and the others moved up by one.
    let open = "* 50001 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n{tag} OK [READ-WRITE] open\r\n";
    let rules = vec![
        Rule::when("SELECT", vec![Act::say(open)]),
        Rule::when("UID SEARCH 50001:50001", vec![Act::say("* SEARCH 60001\r\n* 1 EXPUNGE\r\n{tag} OK\r\n")]),
        Rule::when("UID SEARCH 1:50000", vec![Act::say("* SEARCH 2 3 60001\r\n{tag} OK\r\n")]),
        Rule::when("UID FETCH", vec![Act::say("{tag} OK\r\n")]),
        Rule::when("UID SEARCH UID", vec![Act::say("* SEARCH\r\n{tag} OK\r\n")]),
    ];
    let (ended, heard) = in_inbox(rules, |session| {
        session.messages(Which::All, Depth::State, &mut |_| ControlFlow::Continue(())).map_err(MailFailure::code)
    });
    assert_eq!(ended, Ok(()));
    let searched: Vec<&String> =
        heard.iter().filter(|line| line.starts_with("UID SEARCH") && !line.contains("UID 2")).collect();
    assert_eq!(searched, ["UID SEARCH 50001:50001 ALL", "UID SEARCH 1:50000 ALL"]);
    assert!(heard.iter().any(|line| line.starts_with("UID FETCH 2:3,60001 ")), "{heard:?}");
}

#[test]
fn of_an_unknown_server_nobody_says_that_nothing_is_left() {
    let scripted = Scripted::start(vec![]);
    let (mailroom, access) = reach(&scripted);
    let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
    let residue = session.clear_residue(&["INBOX"]).map_err(MailFailure::code);
    drop(session);
    assert_eq!(residue, Ok(vec![Residue::ServerUnknown]));
    // It shows the folders of nobody else, so nobody's eyes prove anything.
    let seen = access.seen_by(MAILBOX, "bob").map_err(|refusal| refusal.code);
    assert!(seen.is_ok_and(|seen| seen.is_none()));
}

#[test]
fn eyes_that_never_saw_anything_prove_nothing() {
    let others = "* NAMESPACE ((\"\" \"/\")) ((\"shared/\" \"/\")) NIL\r\n{tag} OK\r\n";
    let nothing = || vec![Act::say("{tag} NO [NOPERM] no\r\n")];
    let something = vec![Act::say("* MYRIGHTS shared/ada lr\r\n{tag} OK\r\n")];
    let scripted = Scripted::start(vec![
        Rule::when("NAMESPACE", vec![Act::say(others)]),
        Rule::when("LIST \"\" \"SHARED", vec![Act::say("{tag} OK\r\n")]),
        Rule::when("MYRIGHTS", nothing()).times(1),
        Rule::when("MYRIGHTS \"SHARED/ADA\"", something).times(1),
        Rule::when("LOGIN \"BOB\"", vec![Act::say("{tag} OK in\r\n")]).times(3),
        Rule::when("LOGIN \"BOB\"", vec![Act::say("{tag} NO [AUTHENTICATIONFAILED] no\r\n")]).times(1),
        Rule::when("LOGIN \"BOB\"", vec![Act::say("{tag} NO [UNAVAILABLE] no\r\n")]).times(1),
        Rule::when("MYRIGHTS", nothing()),
    ]);
    let (_, access) = reach(&scripted);
    let look = || {
        let seen = access.seen_by(MAILBOX, "bob").map_err(|refusal| refusal.code)?;
        let rights = |folder: FolderAccess| format!("{} {}", folder.folder, folder.rights);
        Ok::<_, &str>(seen.map(|seen| seen.into_iter().map(rights).collect::<Vec<_>>()))
    };
    assert_eq!(look(), Ok(None), "the mailbox may have another name for others");
    assert_eq!(look(), Ok(Some(vec!["INBOX lr".to_owned()])));
    assert_eq!(look(), Ok(Some(vec![])), "now it is known that something would be seen");
    assert_eq!(look(), Ok(None), "a password that is no longer right shows nothing");
    assert_eq!(look(), Err("mail-server-unavailable"));
}

fn folders() -> Rule {
    let list = ["INBOX", "A", "B"].map(|name| format!("* LIST () \"/\" {name}\r\n")).concat();
    Rule::when("LIST", vec![Act::say(&format!("{list}{{tag}} OK\r\n"))])
}

fn acl(folder: &str, entries: &str) -> Rule {
    Rule::when(&format!("GETACL \"{folder}\""), vec![Act::say(&format!("* ACL {folder} {entries}\r\n{{tag}} OK\r\n"))])
}

/// Changes the rights of bob everywhere. `later` is what stands there afterwards.
fn change_and_read(rules: Vec<Rule>, wanted: Rights, later: &str) -> (Outcome<()>, Vec<String>) {
    const OWN: &str = "ada lrswipkxtea";
    let mut all = rules;
    all.extend([folders(), acl("INBOX", OWN).times(1), acl("A", OWN).times(1)]);
    all.push(acl("B", &format!("{OWN} bob lr")).times(1));
    all.extend(["INBOX", "A", "B"].map(|folder| acl(folder, &format!("{OWN} {later}"))));
    let scripted = Scripted::start(all);
    let (_, access) = reach(&scripted);
    let mut session = access.open(MAILBOX).map_err(|refusal| refusal.code).expect("a session");
    let read = session.read("bob").map_err(|refusal| refusal.code).expect("three folders");
    assert_eq!(read.iter().map(|folder| folder.folder.as_str()).collect::<Vec<_>>(), ["A", "B", "INBOX"]);
    assert_eq!(read.iter().map(|folder| folder.rights.to_string()).collect::<Vec<_>>(), ["", "lr", ""]);
    let wanted: Vec<FolderAccess> = read.into_iter().map(|folder| FolderAccess { rights: wanted, ..folder }).collect();
    let outcome = session.change("bob", &wanted);
    (outcome, scripted.heard())
}

fn change(rules: Vec<Rule>, wanted: Rights) -> (Outcome<()>, Vec<String>) {
    change_and_read(rules, wanted, "bob lrswipkxtea")
}

#[test]
fn what_was_given_to_another_name_is_taken_back() {
    let (outcome, heard) = change_and_read(vec![], Rights::FULL_ACCESS, "BOB lrswipkxtea");
    assert!(matches!(outcome, Outcome::Refused(refusal) if refusal.code == "mail-name-changed"), "{outcome:?}");
    let taken: Vec<&String> = heard.iter().filter(|line| line.starts_with("DELETEACL")).collect();
    assert_eq!(taken, ["DELETEACL \"A\" \"bob\"", "DELETEACL \"B\" \"bob\"", "DELETEACL \"INBOX\" \"bob\""]);
    // And nothing is given where such a name stands already.
    let alike = acl("A", "ada lrswipkxtea bob@example.org lr");
    let (outcome, heard) = change(vec![alike], Rights::FULL_ACCESS);
    assert!(matches!(outcome, Outcome::Refused(refusal) if refusal.code == "mail-name-alike"), "{outcome:?}");
    assert!(!heard.iter().any(|line| line.starts_with("SETACL")), "{heard:?}");
}

#[test]
fn what_was_changed_halfway_is_unknown_and_what_was_not_changed_at_all_is_refused() {
    let refuses = |text: &str| Rule::when(text, vec![Act::say("{tag} NO [NOPERM] no\r\n")]);
    let loses = |text: &str| Rule::when(text, vec![Act::say("* BYE no\r\n"), Act::Close]);
    assert_eq!(change(vec![], Rights::FULL_ACCESS).0, Outcome::Applied(()));
    let code = |outcome: Outcome<()>| match outcome {
        Outcome::Applied(()) => "applied",
        Outcome::Refused(refusal) => refusal.code,
        Outcome::Unknown(cause) => {
            assert_ne!(cause.code, "");
            "unknown"
        }
    };
    for wanted in [Rights::FULL_ACCESS, Rights::NONE] {
        let verb = if wanted.is_empty() { "DELETEACL" } else { "SETACL" };
        assert_eq!(code(change(vec![refuses(verb)], wanted).0), "mail-no-right");
        assert_eq!(code(change(vec![refuses(&format!("{verb} \"B\""))], wanted).0), "unknown");
        assert_eq!(code(change(vec![loses(verb)], wanted).0), "unknown");
        assert_eq!(code(change(vec![loses(&format!("{verb} \"INBOX\""))], wanted).0), "unknown");
        // A folder that went away meanwhile needs no change.
        let gone = Rule::when(&format!("{verb} \"B\""), vec![Act::say("{tag} NO [NONEXISTENT] no\r\n")]);
        let first = folders().times(1);
        let later = Rule::when("LIST", vec![Act::say("* LIST () \"/\" INBOX\r\n* LIST () \"/\" A\r\n{tag} OK\r\n")]);
        assert_eq!(code(change(vec![gone, first, later], wanted).0), "applied");
    }
}

#[test]
fn in_a_folder_that_only_shows_messages_of_others_lies_none() {
    let list = "* LIST () \"/\" INBOX\r\n* LIST (\\All) \"/\" Virtual/All\r\n\
                * LIST (\\HasNoChildren \\Flagged) \"/\" Starred\r\n* LIST (\\Archive) \"/\" Old\r\n{tag} OK\r\n";
    let scripted = Scripted::start(vec![Rule::when("LIST", vec![Act::say(list)])]);
    let (mailroom, _) = reach(&scripted);
    let mut session = mailroom.open(MAILBOX).expect("a session");
    let folders: Vec<String> = session.folders().expect("folders").into_iter().map(|folder| folder.name).collect();
    assert_eq!(folders, ["INBOX", "Old"]);
    // What was recorded of one before is not there, and is not known to be gone either.
    for view in ["Virtual/All", "Starred"] {
        let opened = (session.look_into(view).expect("an answer"), session.work_on(view).expect("an answer"));
        assert_eq!(opened, (Some(FolderState::OF_OTHERS), Some(FolderState::OF_OTHERS)), "{view}");
        assert!(session.expunge(&[1]).is_err(), "nothing is open");
    }
}

#[test]
fn a_folder_without_a_mark_is_a_view_where_dovecot_says_that_its_messages_lie_elsewhere() {
    let look_where = |places: &str, counts: &str, told: &str| {
        let greeting = format!("* OK [CAPABILITY {CAPABILITIES}] Dovecot ready\r\n");
        let list = "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Virtual/Recent\r\n{tag} OK\r\n";
        let open = &format!("* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n{counts}{{tag}} OK [READ-ONLY] open\r\n");
        let scripted = Scripted::start(vec![
            Rule::when(GREETING, vec![Act::say(&greeting)]),
            Rule::when("NAMESPACE", vec![Act::say(&format!("* NAMESPACE ({places}) NIL NIL\r\n{{tag}} OK\r\n"))]),
            Rule::when("LIST", vec![Act::say(list)]),
            Rule::when("EXAMINE", vec![Act::say(open)]),
            Rule::when("X-MAILBOX", vec![Act::say(told)]),
        ]);
        let (mailroom, _) = reach(&scripted);
        let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
        let state = session.look_into("Virtual/Recent").map_err(MailFailure::code);
        let was_asked = scripted.heard().iter().any(|line| line.contains("X-MAILBOX"));
        (state.map(|state| state.map(|state| state.uid_validity)), was_asked)
    };
    let (one, several) = ("(\"\" \"/\")", "(\"\" \"/\")(\"Virtual/\" \"/\")");
    let counts = "* OK [HIGHESTMODSEQ 3] x\r\n";
    let look = |places: &str, told: &str| look_where(places, counts, told);
    let in_folder = |name: &str| format!("* 1 FETCH (X-MAILBOX {name})\r\n{{tag}} OK\r\n");
    assert_eq!(
        look(several, &in_folder("INBOX")),
        (Ok(Some(0)), true),
        "as of any folder that shows messages of others"
    );
    assert_eq!(look(several, &in_folder("Virtual/Recent")), (Ok(Some(7)), true));
    assert_eq!(look(several, "{tag} BAD no\r\n"), (Ok(Some(7)), true), "another server behind a Dovecot");
    assert_eq!(look(several, "{tag} OK\r\n"), (Err("mail-answer-incomplete"), true));
    assert_eq!(look(one, &in_folder("INBOX")), (Ok(Some(7)), false), "Dovecot's begin in a place of their own");
    assert_eq!(
        look_where(one, "", &in_folder("INBOX")),
        (Ok(Some(0)), true),
        "which it may hide; it counts no changes in them"
    );
}

#[test]
fn a_folder_with_others_below_it_that_its_rights_close_keeps_no_other_back() {
    let greeting = format!("* OK [CAPABILITY {CAPABILITIES}] Dovecot ready\r\n");
    let list = "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Old\r\n* LIST () \"/\" Old/2019\r\n{tag} OK\r\n";
    let with = |no: &str| {
        let scripted = Scripted::start(vec![
            Rule::when(GREETING, vec![Act::say(&greeting)]),
            Rule::when("LIST", vec![Act::say(list)]),
            Rule::when("STATUS \"OLD\"", vec![Act::say(&format!("{{tag}} {no}\r\n"))]),
            Rule::when("EXAMINE \"OLD\"", vec![Act::say(&format!("{{tag}} {no}\r\n"))]),
        ]);
        let (mailroom, _) = reach(&scripted);
        let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
        let folders = session.folders().map_err(MailFailure::code);
        let folders = folders.map(|folders| folders.into_iter().map(|folder| folder.name).collect::<Vec<_>>());
        (folders, session.look_into("Old").map(|state| state.is_some()).map_err(MailFailure::code))
    };
    let all = ["INBOX", "Old", "Old/2019"].map(str::to_owned).to_vec();
    assert_eq!(with("NO [NOPERM] no"), (Ok(all), Err("mail-no-right")));
    let without = ["INBOX", "Old/2019"].map(str::to_owned).to_vec();
    assert_eq!(with("NO no"), (Ok(without), Ok(false)), "a name alone");
}

#[test]
fn a_folder_that_begins_to_show_messages_of_others_is_not_opened_by_the_next_login() {
    let list = |attribute: &str| Act::say(&format!("* LIST ({attribute}) \"/\" Old\r\n{{tag}} OK\r\n"));
    let before = Rule::when("LIST", vec![list("\\HasNoChildren")]).times(1);
    let scripted = Scripted::start(vec![before, Rule::when("LIST", vec![list("\\HasNoChildren \\All")])]);
    let (mailroom, _) = reach(&scripted);
    let numbering = || {
        let mut session = mailroom.open(MAILBOX).map_err(MailFailure::code).expect("a session");
        session.look_into("Old").expect("an answer").map(|state| state.uid_validity)
    };
    assert_eq!(numbering(), Some(7));
    assert_eq!(numbering(), Some(0), "no folder is numbered so, so nothing in it is as it was recorded");
}

#[test]
fn a_part_of_the_folders_is_never_the_answer() {
    let read = |rules: Vec<Rule>| {
        let scripted = Scripted::start(rules);
        let (_, access) = reach(&scripted);
        let mut session = access.open(MAILBOX).map_err(|refusal| refusal.code)?;
        session.read("bob").map(|read| read.len()).map_err(|refusal| refusal.code)
    };
    let good = || vec![folders(), acl("INBOX", "ada lr"), acl("A", "ada lr"), acl("B", "bob lr")];
    let with = |rule: Rule| [vec![rule], good()].concat();
    assert_eq!(read(good()), Ok(3));
    // One is removed between the list and the question: the list is asked for again.
    let gone = Rule::when("GETACL \"B\"", vec![Act::say("{tag} NO [NONEXISTENT] no\r\n")]);
    let later = Rule::when("LIST", vec![Act::say("* LIST () \"/\" INBOX\r\n* LIST () \"/\" A\r\n{tag} OK\r\n")]);
    assert_eq!(read([vec![gone.clone(), folders().times(1), later], good()].concat()), Ok(2));
    assert_eq!(read(with(gone)), Err("mail-folder-missing"), "it stays listed");
    assert_eq!(
        read(with(Rule::when("GETACL \"A\"", vec![Act::say("{tag} NO [NOPERM] no\r\n")]))),
        Err("mail-no-right")
    );
    assert_eq!(read(with(Rule::when("GETACL \"A\"", vec![Act::say("{tag} OK\r\n")]))), Err("mail-answer-incomplete"));
    assert_eq!(
        read(with(Rule::when("GETACL \"A\"", vec![Act::say("{tag} NO [UNAVAILABLE] no\r\n")]))),
        Err("mail-server-unavailable")
    );
    assert_eq!(read(with(Rule::when("GETACL \"A\"", vec![Act::Close]))), Err("mail-closed"));
    let refusal = Rule::when("LOGIN", vec![Act::say("{tag} NO [INUSE] no\r\n")]);
    assert_eq!(read(with(refusal)), Err("mail-folder-in-use"));
}
