//! Mailboxes are registered, registered anew, and removed, with a crash at every flush: a credential that is needed can be
//! opened, one that is not is destroyed, and nothing is registered by halves.

use retention_core::event::Event;
use retention_core::id::{Digest, EntityId};
use retention_core::mailbox::LoginForm;
use retention_tests::crash::Remains;
use retention_tests::world::{REQUESTER, Stage, Stepped, World};
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
    for stop in 1.. {
        let mut world = World::new("P1D");
        world.gate.crash_at(stop, remains);
        let crashed = whole_life(&mut world);
        world.reopen();
        settle(&mut world);
        let unneeded = world.store().view(|views| views.small.registry.unneeded().count());
        assert_eq!(unneeded, 0, "flush {stop}, {remains:?}");
        if !crashed {
            assert!(stop > 6, "the scenario has only {stop} flushes");
            return;
        }
    }
}

#[test]
fn credentials_survive_a_crash_at_every_flush() {
    for remains in [Remains::Lost, Remains::Torn, Remains::Kept, Remains::Flushed] {
        crash_everywhere(remains);
    }
}
