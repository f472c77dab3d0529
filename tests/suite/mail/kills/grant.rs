//! Grants: given, verified, taken back, with a kill at every step.

use std::io;
use std::path::Path;

use retention_core::event::grant::GrantStep;
use retention_core::id::EntityId;
use retention_core::view::{StepStanding, Views};
use retention_tests::servers::raw::quoted;
use retention_tests::servers::{Account, Kind, Server};
use retention_tests::victim::Socket;
use retentiond::store::Store;
use serde_json::json;

use super::{Deed, Hunt, Login, Rights, Standing, assert_stands, can_open, hunt_on, number_of};

const PROJECTS: [&str; 1] = ["Projects"];
const NESTED: [&str; 2] = ["Projects", "2019"];
/// Where the helper may read without any grant.
const STANDS: [&str; 1] = ["Standing"];
/// Where somebody else may do much, and the helper a little.
const SHARED: [&str; 1] = ["Shared"];
const MADE: [&str; 2] = ["Projects", "made meanwhile"];

/// How a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Somebody takes it back.
    Asked,
    /// Its time is over.
    Lease,
}

struct Grants {
    server: &'static Server,
    owner: Account,
    helper: Account,
    bystander: Account,
    mailbox: EntityId,
    /// Who may do what without any grant.
    before: Rights,
    ending: Ending,
    /// The newest grant of the rounds before.
    known: u64,
    newest: u64,
    has_made: bool,
}

fn policy(helper: &Account) -> String {
    format!(
        "schema = 1\n[policy]\nid = \"access\"\ntitle = \"Access\"\nowner = \"dpo@example.org\"\n\
         legal_basis = \"GDPR 32\"\ndata_class = \"access\"\nstate = \"enforce\"\n\
         [access]\nright = \"full_access\"\nprincipals = [\"{}\"]\nmax_duration = \"PT1H\"\n",
        helper.name
    )
}

impl Grants {
    fn new(server: &'static Server) -> (Hunt, Self) {
        let (owner, helper, bystander) = (server.mailbox(), server.mailbox(), server.mailbox());
        let mut raw = server.login(&owner);
        for path in [&PROJECTS[..], &NESTED, &STANDS, &SHARED] {
            raw.ok(&format!("CREATE {}", quoted(&server.folder(path))));
        }
        let mut give = |path: &[&str], to: &Account, rights: &str| {
            raw.ok(&format!("SETACL {} {} {rights}", quoted(&server.folder(path)), to.name));
        };
        give(&STANDS, &helper, "lr");
        give(&SHARED, &helper, "lrs");
        give(&SHARED, &bystander, "lrswipkxtea");
        give(&PROJECTS, &bystander, "lrs");
        drop(raw);
        let hunt = hunt_on(&[server], &[("access", policy(&helper))]);
        let registered = hunt.register(&[(server, &owner, Login::Admin), (server, &helper, Login::Own)]);
        let before = server.rights(&owner);
        let mailbox = registered[0];
        let deed = Self {
            server,
            owner,
            helper,
            bystander,
            mailbox,
            before,
            ending: Ending::Asked,
            known: 0,
            newest: 0,
            has_made: false,
        };
        (hunt, deed)
    }

    fn can_open(&self, who: &Account, path: &[&str]) -> bool {
        can_open(self.server, who, &self.owner, path)
    }

    fn make_folder(&mut self) {
        self.server.login(&self.owner).ok(&format!("CREATE {}", quoted(&self.server.folder(&MADE))));
        self.has_made = true;
    }
}

impl Deed for Grants {
    fn prepare(&mut self, _hunt: &mut Hunt, round: u64) {
        self.ending = if round.is_multiple_of(2) { Ending::Asked } else { Ending::Lease };
        (self.known, self.has_made) = (self.newest, false);
    }

    fn go_on(&mut self, socket: &Socket) -> io::Result<Standing> {
        let rows = socket.get("/v1/grants?limit=1")?;
        let Some(row) = rows["rows"].get(0).filter(|row| number_of(&row["grant"]) > self.known) else {
            let duration = if self.ending == Ending::Lease { "PT1S" } else { "PT1H" };
            let wanted = json!({
                "mailbox": self.mailbox.to_string(),
                "to": self.helper.name,
                "duration": duration,
                "reason": "restore",
            });
            return socket.post("/v1/grants", &wanted).map(|_| Standing::UnderWay);
        };
        self.newest = number_of(&row["grant"]);
        let name = row["grant"].as_str().expect("a name");
        match row["state"].as_str().expect("a state") {
            // Where the daemon dies meanwhile, they say it again.
            "awaiting_approval" => drop(socket.second_person(&["grant", "approve", name])),
            "active" if !self.has_made => {
                self.make_folder();
                return Ok(Standing::Resting);
            }
            "active" if self.ending == Ending::Asked => {
                socket.post(&format!("/v1/grants/{name}/revoke"), &json!({ "reason": "done" }))?;
            }
            "active" => return Ok(Standing::Resting),
            "giving" | "revoking" => {}
            "revoked" => return Ok(Standing::Over),
            other => panic!("{name} is {other}: {row}"),
        }
        Ok(Standing::UnderWay)
    }

    fn commands(&self) -> &'static [(&'static str, u64)] {
        &[("GETACL", 5), ("SETACL", 5), ("DELETEACL", 3)]
    }

    fn rests(&self) -> bool {
        true
    }

    fn steps(&self) -> &'static [&'static str] {
        &["read", "give", "active", "revoke", "verify_revoked"]
    }

    fn under_way(&self, views: &Views) -> Vec<String> {
        let steps = [GrantStep::Read, GrantStep::Give, GrantStep::Revoke, GrantStep::VerifyRevoked];
        let open = views.small.grants.open().flat_map(|(_, grant)| {
            let begun =
                steps.into_iter().filter(|step| matches!(grant.step(*step), Some(StepStanding::Started { .. })));
            let begun: Vec<String> = begun.map(|step| step.name().to_owned()).collect();
            if begun.is_empty() { vec![grant.state(views.recorded_at).name().to_owned()] } else { begun }
        });
        open.collect()
    }

    fn look(&mut self, _store: &Store, _exports: &Path, what: &str) {
        assert_stands(self.server, &self.owner, &self.before, what);
    }

    fn check(&mut self, what: &str) {
        let mut now = self.server.rights(&self.owner);
        let made = now.remove(&self.server.folder(&MADE));
        assert_eq!(made.is_some(), self.has_made, "{what}");
        let left = made.as_ref().and_then(|entries| entries.get(&self.helper.name));
        assert_eq!(left, None, "{what}: the folder made meanwhile is open");
        assert_eq!(now, self.before, "{what}");
        for path in [&[][..], &PROJECTS, &NESTED] {
            assert!(!self.can_open(&self.helper, path), "{what}: {path:?} is still open");
        }
        for (who, path) in [(&self.helper, &STANDS), (&self.helper, &SHARED), (&self.bystander, &SHARED)] {
            assert!(self.can_open(who, path), "{what}: what stood on {path:?} is gone");
        }
        if self.has_made {
            self.server.login(&self.owner).ok(&format!("DELETE {}", quoted(&self.server.folder(&MADE))));
        }
    }
}

fn hunt(kind: Kind) {
    let (hunt, mut grants) = Grants::new(Server::shared(kind));
    hunt.hunt(&format!("grants on {kind}"), &mut grants);
}

#[test]
fn a_grant_on_dovecot_leaves_no_access_behind_wherever_the_daemon_is_killed() {
    hunt(Kind::Dovecot);
}

#[test]
fn a_grant_on_cyrus_leaves_no_access_behind_wherever_the_daemon_is_killed() {
    hunt(Kind::Cyrus);
}

#[test]
fn a_grant_on_courier_leaves_no_access_behind_wherever_the_daemon_is_killed() {
    hunt(Kind::Courier);
}
