//! Mailboxes are registered, registered anew, and removed, with a crash at every flush: a credential that is needed can
//! be opened, one that is not is destroyed, and nothing is registered by halves.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher as _;
use retention_core::event::{Actor, Event};
use retention_core::id::{Digest, EntityId};
use retention_core::mailbox::LoginForm;
use retention_tests::crash::{Remains, at_every_flush};
use retention_tests::world::{REQUESTER, Stage, Stepped, World};
use retentiond::clock::Clock as _;
use retentiond::config::{MailServer, MailTls};
use retentiond::stage::intake::IntakeHealth;
use retentiond::stage::intake::batch_file::BatchFiles;
use retentiond::stage::intake::registry::{Registrar, Registration, RegistryError};
use retentiond::store::vault::KeyState;
use zeroize::Zeroizing;

/// The secrets of the tests: nothing else in a store may look like them.
const SECRETS: [&str; 3] = ["PLAINTEXT-MARKER-one", "PLAINTEXT-MARKER-two", "PLAINTEXT-MARKER-three"];

fn registration(address: &str, secret: Option<&str>) -> Registration {
    Registration {
        server: "mail".to_owned(),
        address: address.to_owned(),
        user: Some("PLAINTEXT-MARKER-user".to_owned()),
        form: Some(LoginForm::DovecotMaster { separator: '%' }),
        admin: None,
        root: None,
        secret: secret.map(|secret| Zeroizing::new(secret.to_owned())),
    }
}

fn register(world: &World, wanted: &[Registration]) -> Result<Vec<EntityId>, RegistryError> {
    let actor = retention_core::event::Actor::Person(REQUESTER);
    Registrar::new(world.store().clone()).register(actor, wanted, None)
}

fn credential_of(world: &World, mailbox: EntityId) -> Option<EntityId> {
    world.store().view(|views| views.small.registry.get(mailbox)?.credential)
}

fn secret_of(world: &World, credential: EntityId) -> Option<String> {
    let stored = world.log().into_iter().find(|recorded| recorded.envelope.entity == Some(credential))?;
    match stored.event() {
        Some(Event::CredentialStored(body)) => Some(body.secret.clone().into_text().to_string()),
        _ => None,
    }
}

fn settle(world: &mut World) {
    while let Stepped::Worked | Stepped::Crashed = world.step(Stage::Credential) {}
}

#[test]
fn a_mailbox_keeps_its_credential_until_it_gets_another_or_is_removed() {
    let mut world = World::new("P1D");
    let mailbox = register(&world, &[registration("PLAINTEXT-MARKER@example.org", Some(SECRETS[0]))]).unwrap()[0];
    let first = credential_of(&world, mailbox).unwrap();
    assert_eq!(secret_of(&world, first).as_deref(), Some(SECRETS[0]));
    let record = world.store().record(mailbox).unwrap().unwrap();
    let read = Registration::of_record("mail", &record).unwrap();
    assert_eq!(read, registration("PLAINTEXT-MARKER@example.org", None));

    let before = world.store().view(|views| views.position);
    assert_eq!(register(&world, &[registration("PLAINTEXT-MARKER@example.org", None)]).unwrap(), [mailbox]);
    assert_eq!(world.store().view(|views| views.position), before, "nothing was new");
    let changed = Registration { root: Some("INBOX".to_owned()), ..registration("PLAINTEXT-MARKER@example.org", None) };
    assert_eq!(register(&world, &[changed]).unwrap(), [mailbox]);
    assert_eq!(credential_of(&world, mailbox), Some(first), "its credential is still needed");

    register(&world, &[registration("PLAINTEXT-MARKER@example.org", Some(SECRETS[1]))]).unwrap();
    let second = credential_of(&world, mailbox).unwrap();
    assert_ne!(second, first);
    settle(&mut world);
    assert!(matches!(world.store().key_of(first), Ok(KeyState::Destroyed)));
    assert_eq!(secret_of(&world, first), None);
    assert_eq!(secret_of(&world, second).as_deref(), Some(SECRETS[1]));

    let actor = retention_core::event::Actor::Person(REQUESTER);
    let registrar = Registrar::new(world.store().clone());
    registrar.remove(actor, mailbox, "PLAINTEXT-MARKER reason".to_owned()).unwrap();
    assert!(matches!(registrar.remove(actor, mailbox, String::new()), Err(RegistryError::NotRegistered(_))));
    drop(registrar);
    settle(&mut world);
    assert_eq!(secret_of(&world, second), None);
    let report = world.store().verify(&mut |_, _| {}).unwrap();
    assert!(report.is_good(), "{report:?}");

    assert_eq!(register(&world, &[registration("PLAINTEXT-MARKER@example.org", Some(SECRETS[2]))]).unwrap(), [mailbox]);
    world.lose_sled();
    assert_eq!(secret_of(&world, credential_of(&world, mailbox).unwrap()).as_deref(), Some(SECRETS[2]));
}

#[test]
fn a_batch_is_registered_whole_or_not_at_all() {
    let world = World::new("P1D");
    let before = world.store().view(|views| views.position);
    let twice = [registration("a@example.org", None), registration("a@example.org", None)];
    assert!(matches!(register(&world, &twice), Err(RegistryError::Twice(2))));
    assert_eq!(world.store().view(|views| views.position), before);
    let batch: Vec<Registration> =
        (0..300).map(|n| registration(&format!("user{n}@example.org"), Some(SECRETS[n % 3]))).collect();
    let actor = retention_core::event::Actor::Person(REQUESTER);
    let registrar = Registrar::new(world.store().clone());
    let all = registrar.register(actor, &batch, Some(Digest::of(b"file"))).unwrap();
    assert_eq!(all.len(), 300);
    let told = world.log().into_iter().filter_map(|recorded| match recorded.event() {
        Some(Event::MigrationBatchImported(body)) => Some((body.mailboxes, body.credentials)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(300, 300)]);
}

#[test]
fn an_address_in_other_letters_is_no_other_mailbox() {
    let world = World::new("P1D");
    let first = register(&world, &[registration("Jana.Nováková@example.org", None)]).unwrap()[0];
    let before = world.store().view(|views| views.position);
    for alike in ["jana.nováková@example.org", "Jana.Nováková@EXAMPLE.org", "JANA.NOVÁKOVÁ@example.org"] {
        let refused = register(&world, &[registration("b@example.org", None), registration(alike, None)]);
        let is_named = matches!(refused, Err(RegistryError::Alike { number: 2, known }) if known == first);
        assert!(is_named, "{alike}");
    }
    let twice = [registration("a@example.org", None), registration("A@example.org", None)];
    assert!(matches!(register(&world, &twice), Err(RegistryError::Twice(2))));
    assert_eq!(world.store().view(|views| views.position), before, "nothing was registered");
    // The same, another one, and the same address on another server.
    let elsewhere = Registration { server: "other".to_owned(), ..registration("jana.nováková@example.org", None) };
    let others = [registration("Jana.Nováková@example.org", None), registration("b@example.org", None), elsewhere];
    let registered = register(&world, &others).unwrap();
    assert!(registered[0] == first && !registered[1..].contains(&first), "{registered:?}");
    // One that was removed is in nobody's way.
    let registrar = Registrar::new(world.store().clone());
    registrar.remove(Actor::Person(REQUESTER), first, String::new()).unwrap();
    let small = register(&world, &[registration("jana.nováková@example.org", None)]).unwrap()[0];
    let back = register(&world, &[registration("Jana.Nováková@example.org", None)]);
    assert!(matches!(back, Err(RegistryError::Alike { number: 1, known }) if known == small));
}

/// Registers, registers anew, and removes. Returns whether it crashed.
fn whole_life(world: &mut World) -> bool {
    let mut crashed = false;
    let address = "PLAINTEXT-MARKER@example.org";
    for secret in SECRETS {
        let done = register(world, &[registration(address, Some(secret))]);
        crashed |= done.is_err();
        if done.is_err() {
            world.reopen();
        }
        while let stepped @ (Stepped::Worked | Stepped::Crashed) = world.step(Stage::Credential) {
            crashed |= stepped == Stepped::Crashed;
        }
    }
    crashed
}

fn crash_everywhere(remains: Remains) {
    at_every_flush("a credential", remains, 6, |flush, remains| {
        let mut world = World::new("P1D");
        world.gate.crash_at(flush, remains);
        let crashed = whole_life(&mut world);
        world.reopen();
        settle(&mut world);
        let unneeded = world.store().view(|views| views.small.registry.unneeded().count());
        assert_eq!(unneeded, 0, "flush {flush}, {remains:?}");
        crashed
    });
}

#[test]
fn credentials_survive_a_crash_at_every_flush() {
    for remains in Remains::ALL {
        crash_everywhere(remains);
    }
}

/// A folder of batches, and the stage that looks into it.
struct Dropped {
    world: World,
    dir: tempfile::TempDir,
    stage: BatchFiles,
    health: IntakeHealth,
}

impl Dropped {
    fn new() -> Self {
        let (world, dir) = (World::new("P1D"), tempfile::tempdir().unwrap());
        let registrar = Arc::new(Registrar::new(world.store().clone()));
        let health = IntakeHealth::default();
        let mut stage = BatchFiles::new(registrar, Arc::new(world.clock.clone())).telling(Arc::clone(&health));
        stage.serve(&[Arc::new(MailServer {
            name: "mail".to_owned(),
            host: "localhost".to_owned(),
            port: 993,
            tls: MailTls::Implicit,
            ca_file: None,
            tls_name: "localhost".to_owned(),
            max_connections: 1,
            form: LoginForm::OwnPassword,
            admin: None,
            batches: Some(dir.path().to_owned()),
            doveadm: None,
        })]);
        Self { world, dir, stage, health }
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Looks twice, with time for a file to be still between.
    fn look(&mut self) {
        for _ in 0..2 {
            self.stage.step().unwrap();
            self.world.clock.advance(Duration::from_secs(3));
        }
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is told to lie there: its name, and why.
    fn left(&self) -> Vec<(String, &'static str)> {
        let left = self.health.lock().left.clone();
        assert!(left.iter().all(|one| one.source == "mail" && one.since <= self.world.clock.now()));
        left.into_iter().map(|one| (one.name, one.code)).collect()
    }

    fn registered(&self) -> usize {
        self.world.store().view(|views| views.small.registry.iter().count())
    }
}

/// A batch whose rows log in as the users themselves.
fn batch(rows: &[(&str, &str)]) -> String {
    let rows: String = rows.iter().map(|(user, secret)| format!("{user}@example.org,{user},{secret}\r\n")).collect();
    format!("EmailAddress,UserName,Password\r\n{rows}")
}

#[test]
fn a_batch_that_is_dropped_registers_its_mailboxes_and_is_destroyed() {
    let mut dropped = Dropped::new();
    let text = batch(&[("PLAINTEXT-MARKER-a", SECRETS[0]), ("PLAINTEXT-MARKER-b", SECRETS[1])]);
    let path = dropped.put("wave.CSV", &text);
    dropped.put("notes.txt", "somebody's own");
    // Another name for the same bytes shows that they are overwritten, and not only unlinked.
    let second_name = dropped.dir.path().join("kept");
    fs::hard_link(&path, &second_name).unwrap();
    dropped.stage.step().unwrap();
    assert_eq!(dropped.registered(), 0, "it may still be growing");
    dropped.world.clock.advance(Duration::from_secs(3));
    dropped.look();
    assert_eq!(dropped.files(), ["kept", "notes.txt"]);
    assert_eq!(fs::read(&second_name).unwrap(), vec![0; text.len()]);
    assert_eq!(dropped.registered(), 2);
    let log = dropped.world.log();
    let told = log.iter().find(|recorded| matches!(recorded.event(), Some(Event::MigrationBatchImported(_)))).unwrap();
    assert_eq!(told.envelope.actor, Actor::Person(rustix::process::getuid().as_raw()), "the owner of the file");
    let Some(Event::MigrationBatchImported(body)) = told.event() else { unreachable!() };
    assert_eq!((body.mailboxes, body.credentials, body.content), (2, 2, Digest::of(text.as_bytes())));
    let secrets: Vec<_> = log
        .iter()
        .filter_map(|recorded| match recorded.event() {
            Some(Event::CredentialStored(body)) => Some(body.secret.clone().into_text().to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(secrets, &SECRETS[..2]);
}

#[test]
fn a_dropped_batch_with_a_fault_registers_nothing_until_it_is_mended() {
    let mut dropped = Dropped::new();
    let good = batch(&[("PLAINTEXT-MARKER-a", SECRETS[0])]);
    let bad = format!("{good}nobody,a*b*c,{}\r\n", SECRETS[1]);
    dropped.put("wave.csv", &bad);
    std::os::unix::fs::symlink("/etc/passwd", dropped.dir.path().join("link.csv")).unwrap();
    dropped.look();
    assert_eq!(dropped.registered(), 0);
    assert_eq!(dropped.files(), ["link.csv", "wave.csv", "wave.csv.refused.txt"]);
    let list = dropped.dir.path().join("wave.csv.refused.txt");
    let said = fs::read_to_string(&list).unwrap();
    assert!(said.contains("line 3") && !said.contains(SECRETS[1]), "{said}");
    assert!(!said.contains("the name of the file"), "it has the name of a batch: {said}");
    assert!(
        !said.contains("does not end with") && said.lines().nth(1).is_some_and(|line| line.starts_with("line 3")),
        "{said}"
    );
    let both = [("link.csv".to_owned(), "symlink"), ("wave.csv".to_owned(), "batch_refused")];
    assert_eq!(dropped.left(), both, "people are told of it, and that it holds its passwords");
    assert!(dropped.health.lock().left[1].message.contains("holds its passwords"));
    // The same file is not refused a second time.
    fs::remove_file(&list).unwrap();
    dropped.look();
    assert_eq!(dropped.files(), ["link.csv", "wave.csv"]);
    dropped.put("wave.csv", "\u{feff}EmailAddress\r\n");
    dropped.look();
    assert!(list.exists());
    dropped.put("wave.csv", "EmailAddress,UserName;Password\r\n");
    dropped.look();
    let said = fs::read_to_string(&list).unwrap();
    assert!(said.contains("to retentionctl batch convert"), "nobody can name a delimiter here: {said}");
    // It says that a batch lies here, so it goes with it, wherever its owner took that.
    fs::rename(dropped.dir.path().join("wave.csv"), dropped.dir.path().join("mended.txt")).unwrap();
    dropped.look();
    assert_eq!(dropped.files(), ["link.csv", "mended.txt"]);
    fs::remove_file(dropped.dir.path().join("mended.txt")).unwrap();
    dropped.put("wave.csv", &good);
    dropped.look();
    assert_eq!((dropped.registered(), dropped.files()), (1, vec!["link.csv".to_owned()]));
    dropped.look();
    assert_eq!(dropped.left(), both[..1]);
}

#[test]
fn whoever_watches_the_folder_is_not_woken_by_a_refused_batch_that_lies_there() {
    let mut dropped = Dropped::new();
    dropped.put("wave.csv", "EmailAddress\r\n");
    dropped.look();
    let (tell, told) = std::sync::mpsc::channel();
    let mut watcher = notify::recommended_watcher(tell).unwrap();
    watcher.watch(dropped.dir.path(), notify::RecursiveMode::NonRecursive).unwrap();
    dropped.look();
    let last = dropped.put("last.txt", "");
    let mut seen = told.iter().map(Result::unwrap);
    let other = seen.find(|event| !event.kind.is_access() || event.paths.iter().any(|path| path.ends_with("wave.csv")));
    assert_eq!(other.unwrap().paths, [last], "the first that is heard of is what was put there");
}

#[test]
fn a_batch_that_was_to_be_destroyed_is_destroyed_and_registers_nothing() {
    let mut dropped = Dropped::new();
    let text = batch(&[("PLAINTEXT-MARKER-a", SECRETS[0]), ("PLAINTEXT-MARKER-b", SECRETS[1])]);
    let mut bytes = text.into_bytes();
    bytes[..48].fill(0);
    let path = dropped.dir.path().join(".wave.csv.destroying");
    fs::write(&path, &bytes).unwrap();
    let second_name = dropped.dir.path().join("kept");
    fs::hard_link(&path, &second_name).unwrap();
    dropped.look();
    assert_eq!((dropped.registered(), dropped.files()), (0, vec!["kept".to_owned()]));
    assert_eq!(fs::read(&second_name).unwrap(), vec![0; bytes.len()]);
}

#[test]
fn a_list_that_cannot_be_written_stops_no_other_batch() {
    let mut dropped = Dropped::new();
    dropped.put("bad.csv", "EmailAddress\r\n");
    fs::create_dir(dropped.dir.path().join("bad.csv.refused.txt")).unwrap();
    dropped.put("good.csv", &batch(&[("PLAINTEXT-MARKER-a", SECRETS[0])]));
    dropped.look();
    let is_there = |name: &str| dropped.dir.path().join(name).exists();
    assert_eq!((dropped.registered(), is_there("bad.csv"), is_there("good.csv")), (1, true, false));
}

#[test]
fn a_batch_whose_file_outlived_its_registration_is_registered_anew_and_destroyed() {
    let mut dropped = Dropped::new();
    let text = batch(&[("PLAINTEXT-MARKER-a", SECRETS[0])]);
    dropped.put("wave.csv", &text);
    dropped.look();
    // As a crash right behind the registration would leave it.
    dropped.put("wave.csv", &text);
    dropped.look();
    assert_eq!(dropped.files(), [] as [&str; 0]);
    settle(&mut dropped.world);
    let mailbox = dropped.world.store().view(|views| views.small.registry.iter().next().map(|(entity, _)| entity));
    let credential = credential_of(&dropped.world, mailbox.unwrap()).unwrap();
    assert_eq!(secret_of(&dropped.world, credential).as_deref(), Some(SECRETS[0]));
}
