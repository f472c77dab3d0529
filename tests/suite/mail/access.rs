//! The access of a run on a real server: seen by whoever was given it while the run works in the mailbox, and by nobody
//! before and after.

use std::sync::Arc;

use retention_core::event::grant::{GrantEnd, GrantReceipt, GrantStep, VerifiedAs};
use retention_core::id::{EntityId, GrantId};
use retention_core::view::{GrantState, RunState};
use retention_tests::servers::letter::{date, letter};
use retention_tests::servers::raw::{Status, quoted};
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::world::{Stage, Stepped, World, mail_policy};

use super::directory::{Directory, world};

const OLD: &str = "Old";

/// A folder in which the helper may read without any grant.
const STANDING: &str = "Standing";

/// Whether whoever logs in as the helper can open a folder.
fn can_open(server: &Server, helper: &Account, owner: &Account, folder: &str) -> bool {
    let folder = server.folder_of(owner, &[folder]);
    server.login(helper).ask(&format!("SELECT {}", quoted(&folder))).status == Status::Ok
}

fn taken(world: &World) -> Vec<GrantId> {
    world.store().view(|views| views.small.grants.iter().map(|(id, _)| id).collect())
}

#[test]
fn a_run_has_access_while_it_works_and_nobody_has_it_before_and_after() {
    let server = Server::shared(Kind::Dovecot);
    let directory: Arc<Directory> = Directory::of(server, None);
    let (owner, helper) = (server.mailbox(), server.mailbox());
    let mut raw = server.login(&owner);
    for folder in [OLD, STANDING] {
        raw.ok(&format!("CREATE {}", quoted(&server.folder(&[folder]))));
    }
    raw.ok(&format!("SETACL {} {} lr", quoted(&server.folder(&[STANDING])), helper.name));
    for (number, year) in [(1, 2020), (2, 2025), (3, 2019)] {
        let letter = letter(number, &date(year, 6, 1), 2_000);
        assert!(raw.append(&server.folder(&[OLD]), &[], &letter.date, &letter.body) > 0);
    }
    drop(raw);
    let mut world = world(&directory);
    let access =
        format!("[access]\nright = \"full_access\"\nprincipal = \"{}\"\nmax_duration = \"PT1H\"\n", helper.name);
    world.write_policy("mail", &(mail_policy(OLD, "eml", "P1D") + &access));
    let mailbox: EntityId = world.add_mailbox(&owner.name);
    directory.add(mailbox, &owner);
    directory.know(&helper);
    world.settle();
    let before = server.rights(&owner);
    assert!(!can_open(server, &helper, &owner, OLD) && can_open(server, &helper, &owner, STANDING));

    let (_, run) = world.approved_run("mail");
    for steps in 0.. {
        assert!(steps < 50, "never given\n{}", world.story());
        if taken(&world).first().is_some_and(|grant| world.grant_state(*grant) == GrantState::Active) {
            break;
        }
        let worked = [Stage::Run, Stage::Grant].map(|stage| world.step(stage));
        assert!(worked.contains(&Stepped::Worked), "never given\n{}", world.story());
    }
    assert_eq!(world.export_entries(), 0, "it is given before anything is exported");
    assert!(can_open(server, &helper, &owner, OLD), "{}", world.story());

    // In quarantine nobody works there.
    world.settle();
    assert_eq!(world.bundles(), 1, "{}", world.story());
    assert_eq!(server.rights(&owner), before, "{}", world.story());
    assert!(!can_open(server, &helper, &owner, OLD) && can_open(server, &helper, &owner, STANDING));

    world.finish();
    assert_eq!(world.run_state(run), RunState::Completed, "{}", world.story());
    let left: Vec<u32> = server.truth(&owner)[&server.folder(&[OLD])].messages.keys().copied().collect();
    assert_eq!(left, [2], "{}", world.story());
    assert_eq!(server.rights(&owner), before, "{}", world.story());
    assert!(!can_open(server, &helper, &owner, OLD) && can_open(server, &helper, &owner, STANDING));
    let all = taken(&world);
    assert_eq!(all.len(), 2, "to export and to purge\n{}", world.story());
    for grant in all {
        let (end, gone) = world.store().view(|views| {
            let grant = views.small.grants.get(grant).expect("a grant");
            (grant.end, grant.receipt(GrantStep::VerifyRevoked).cloned())
        });
        assert_eq!(end, Some(GrantEnd::Revoked), "{}", world.story());
        let is_seen = matches!(gone, Some(GrantReceipt::VerifiedGone { verified_as: VerifiedAs::Grantee, .. }));
        assert!(is_seen, "{gone:?}\n{}", world.story());
    }
}
