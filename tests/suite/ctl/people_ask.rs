//! What data subjects ask for, from the first search to the end: with the real programs, on the sample exports.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use retention_tests::bundle::{HOLDER, IDENTITY};
use retention_tests::daemon::{Daemon, Site};
use serde_json::{Value, json};

use super::{is_approved, policies_active, shipped, taken_in, text, texts};

/// A contact of the samples, and what else is about her.
const PRIYA: &str = "priya.lindqvist@contoso.com";

fn site() -> Site {
    Site::new(&[("demo-ocm-contacts", &shipped("demo-ocm-contacts"))])
}

fn with_samples<'s>(site: &'s Site) -> Daemon<'s> {
    let daemon = site.start();
    policies_active(site, &daemon);
    site.drop_samples();
    let _intakes = taken_in(site, &daemon, 2);
    daemon
}

fn state(site: &Site, request: &str) -> String {
    text(&site.json(&["subject", "show", request])["request"], "state").to_owned()
}

fn sure(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter(|row| row["sure"] == true).map(|row| text(row, "record")).collect()
}

#[test]
fn an_erasure_goes_from_a_search_to_the_answer() {
    let site = site();
    site.write("config.toml", &format!("{}[subjects]\nencrypt_to = [\"{HOLDER}\"]\n", site.config()));
    let daemon = with_samples(&site);

    // However she writes her address: it is the same one.
    let found = site.rows(&["subject", "find", "--email", "Priya.LINDQVIST@contoso.com"]);
    assert_eq!(site.rows(&["subject", "find", "--email", &format!("Priya <{PRIYA}>")]), found);
    let own = found.iter().find(|row| row["kind"] == "contact").expect("her contact");
    assert_eq!((&own["sure"], &own["why"][0]), (&json!(true), &json!("own email")), "{found:?}");
    let contact = text(own, "record");
    assert!(found.iter().all(|row| row.get("Name").is_none()), "a row says nothing of the content");
    assert_eq!(site.rows(&["subject", "find", "--email", "nobody@example.org"]).len(), 0);
    let _wrong = site.ctl(&["subject", "find", "--email", "no address"]).ends(2).says("not an e-mail address");
    let _none = site.ctl(&["subject", "find"]).ends(2);
    let _no_record = site.ctl(&["subject", "find", "--record", "E4000000"]).ends(2).says("is no record that is there");
    let by_id = |id: &str| site.ctl(&["subject", "find", "--id", id]);
    let misspelt = by_id("CRN:secret-7").ends(2).says("did you mean `crm`?").says("there are");
    assert!(!misspelt.err.contains("secret-7") && !misspelt.err.contains("CRN"), "{}", misspelt.err);
    let strange = by_id("urn:secret-7").ends(2).says("a source that there is not").says(":ID");
    assert!(!strange.err.contains("did you mean"), "{}", strange.err);
    let _not_taken_in = site.ctl(&["subject", "access", "--id", "CRN:7"]).ends(2).says("did you mean `crm`?");
    assert_eq!(site.rows(&["subject", "list", "--all"]).len(), 0, "nothing was taken in");
    for id in ["crm:secret-7", "secret-7", ":urn:secret-7"] {
        assert_eq!(site.rows(&["subject", "find", "--id", id]).len(), 0, "{id}");
    }
    let opened = site.rows(&["audit", "query", "--kind", "RecordsOpened"]);
    assert!(opened.iter().any(|row| row.to_string().contains("SubjectFind")), "{opened:?}");

    let _groundless = site.ctl(&["subject", "erase", "--email", PRIYA]).ends(2);
    let asked =
        site.json(&["subject", "erase", "--email", PRIYA, "--ground", "consent-withdrawn", "--reference", "T-1"]);
    let request = text(&asked, "request").to_owned();
    assert_eq!(state(&site, &request), "received");
    let rows = site.rows(&["subject", "list"]);
    assert_eq!((text(&rows[0], "request"), text(&rows[0], "reference")), (request.as_str(), "T-1"));
    let hold = ["hold", "place", "Case 17", "--request", &request, "--reason", "lawsuit"];
    let _unknown = site.ctl(&hold).ends(2).says("is about no record that is there");
    let pause = |verb: &str, request: &str| site.ctl(&[verb, "--request", request, "--reason", "look"]);
    let _unidentified = pause("pause", &request).ends(2).says("nobody has said yet which records");
    let _missing = pause("pause", "Q1").ends(2).says("there is no request Q1");
    let _early = site
        .ctl(&["subject", "complete", &request, "--end", "fulfilled", "--reason", "x"])
        .ends(2)
        .says("nobody has said yet who asks");

    let taken = site.rows(&["subject", "identify", &request, "--how", "identity card seen"]);
    assert_eq!(texts(&taken, "record"), sure(&found), "what is surely hers, and nothing else");
    let _paused = pause("pause", &request).ends(0);
    assert_eq!(site.json(&["status"])["paused"], json!([format!("request {request}")]));
    let _twice = pause("pause", &request).ends(2).says("paused already");
    let _resumed = pause("resume", &request).ends(0);
    let _again = pause("resume", &request).ends(2).says("not paused");
    let held = site.json(&["hold", "place", "Case 18", "--request", &request, "--reason", "look"]);
    let _over = site.ctl(&["hold", "release", text(&held, "hold"), "--delay", "P0D", "--reason", "no case"]).ends(0);
    let _two = site.ctl(&["pause", "--request", &request, "--policy", "old-people", "--reason", "look"]).ends(2);
    let plan = daemon.until("a plan is there", || {
        let shown = site.json(&["subject", "show", &request]);
        shown["request"]["plan"].as_str().map(str::to_owned)
    });
    let frozen = daemon.until("the plan is frozen", || {
        let shown = site.json(&["plan", "show", &plan]);
        (shown["state"] == "awaiting_approval").then_some(shown)
    });
    assert_eq!(frozen["frozen"]["items"], taken.len(), "{frozen}");
    let _unfinished = site
        .ctl(&["subject", "complete", &request, "--end", "fulfilled", "--reason", "x"])
        .ends(2)
        .says("a plan of it waits or runs");

    if is_approved(&site, &plan) {
        daemon.until("everything is erased", || (state(&site, &request) == "erased").then_some(()));
        let _gone = site.ctl(&["entity", "show", contact]).ends(6).says("subject-request");
        assert_eq!(
            site.rows(&["subject", "find", "--email", PRIYA]).iter().filter(|row| row["sure"] == true).count(),
            0
        );
        let bundles = |site: &Site| fs::read_dir(site.path("exports")).expect("exports").count();
        let before = bundles(&site);
        assert!(before > 0, "the copy is there until she has the answer");
        let manifest = text(&site.rows(&["export", "list"])[0], "manifest").to_owned();
        let seen = site.rows(&["export", "verify", &manifest]);
        assert!(text(&seen[0], "message").contains("seen by its keyholders alone"), "{seen:?}");
        site.write("key", IDENTITY);
        for bundle in fs::read_dir(site.path("exports")).expect("exports") {
            let (bundle, key) = (bundle.expect("a bundle").path(), site.path("key"));
            let [bundle, key] = [&bundle, &key].map(|path| path.display().to_string());
            let opened = site.rows(&["export", "verify", &bundle, "--identity", &key]);
            assert!(opened.iter().any(|row| row["part"] == "items.jsonl.age"), "{opened:?}");
        }
        let given = site.json(&["export", "hand-over", &manifest, "--to", "tax adviser", "--reason", "audit"]);
        let recipients = || site.json(&["subject", "show", &request])["recipients"].clone();
        assert_eq!((&recipients()[0]["to"], &recipients()[0]["told_at"]), (&json!("tax adviser"), &Value::Null));
        let recipient = given["recipient"].to_string();
        let tell = |number: &str| site.ctl(&["subject", "told", &request, number, "--how", "letter"]);
        let _nobody = tell("1").ends(2).says("there is no recipient 1");
        // What is erased is told when the run is over.
        daemon.until("they have to be told", || (recipients()[0]["to_tell"] == true).then_some(()));
        let _told = tell(&recipient).ends(0);
        let _twice = tell(&recipient).ends(2).says("was told before");
        assert!(!recipients()[0]["told_at"].is_null());
        let held = || site.json(&["subject", "show", &request])["copies"][0]["held"].clone();
        assert_eq!(held(), false);
        let wide = site.json(&["hold", "place", "Case 19", "--kind", "contact", "--reason", "court"]);
        assert_eq!(held(), true, "the copy does not go with the answer");
        let _over = site.ctl(&["hold", "release", text(&wide, "hold"), "--delay", "P0D", "--reason", "closed"]).ends(0);
        assert_eq!(held(), false);
        let _done = site
            .ctl(&["subject", "complete", &request, "--end", "fulfilled", "--reason", "answered by letter"])
            .ends(0);
        daemon.until("it is recorded that the copies are gone", || {
            let exports = site.rows(&["export", "list"]);
            let is_gone = |row: &Value| !row["destroyed_at"].is_null();
            (!exports.is_empty() && exports.iter().all(is_gone)).then_some(())
        });
        assert_eq!(bundles(&site), 0);
        assert_eq!(state(&site, &request), "completed");
        for verb in [&["complete", "--end", "withdrawn"][..], &["extend"]] {
            let again = [&["subject", verb[0], &request, "--reason", "again"][..], &verb[1..]].concat();
            let _once = site.ctl(&again).ends(2).says("was completed at").says("fulfilled; nothing was changed");
        }
        told_by_the_log(&site, &request, taken.len());
        certified(&site, &daemon, &request, taken.len());
    }
    let log = fs::read(site.path("state/journal/00000000000000000001.journal")).unwrap_or_default();
    assert!(memchr::memmem::find(&log, PRIYA.as_bytes()).is_none(), "her address is nowhere in clear");
    daemon.stop();
}

/// Asks the log about a request: what was decided and done for it, and what happened to the records, and nothing else.
fn told_by_the_log(site: &Site, request: &str, records: usize) {
    let told = site.rows(&["audit", "query", "--request", request]);
    let count = |kind: &str| told.iter().filter(|row| row["kind"] == kind).count();
    for kind in [
        "SubjectRequested",
        "SubjectIdentified",
        "HoldPlaced",
        "HoldReleased",
        "DisposalPaused",
        "DisposalResumed",
        "ErasurePlanRequested",
        "PlanFrozen",
        "PlanApproved",
        "RunEnded",
        "StepSucceeded",
        "RecipientTold",
        "BundleDestroyed",
        "SubjectRequestCompleted",
    ] {
        assert!(count(kind) > 0, "{kind} is missing among {}", told.len());
    }
    assert_eq!((count("KeyDestroyed"), count("PolicyRecorded"), count("StoreInitialised")), (records, 0, 0));
    let all = site.rows(&["audit", "query", "--kind", "EntityChanged"]).len();
    assert!((records..all).contains(&count("EntityChanged")), "of {all} changes some are of others");
    let also = site.rows(&["audit", "query", "--request", request, "--kind", "KeyDestroyed", "--oldest-first"]);
    assert_eq!(also.len(), records);
    let _unknown = site.ctl(&["audit", "query", "--request", "Q1"]).ends(2).says("there is no request Q1");
}

/// Writes the certificate of a request that was fulfilled, and checks what it says without the daemon.
fn certified(site: &Site, daemon: &Daemon<'_>, request: &str, records: usize) {
    let file = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (certificate, page) = (file("request.certificate"), file("request.html"));
    daemon.until("a checkpoint covers the end of the copy", || {
        (site.ctl(&["certificate", "request", request, "--into", &certificate]).code == 0).then_some(())
    });
    let key = text(&site.rows(&["audit", "keys"])[0], "verifier_key").to_owned();
    let says = site.json(&["certificate", "verify", &certificate, "--key", &key]);
    let (statement, said) = (&says["statement"], &says["said_without_proof"]);
    assert_eq!((&says["subject"], &statement["records"]), (&json!({ "request": request }), &json!(records)));
    assert_eq!(statement["destroyed"].as_object().map(serde_json::Map::len), Some(records), "{says}");
    assert_eq!((&statement["kept"], &statement["left_alone"]), (&json!({}), &json!({})));
    assert_eq!(statement["plans"][0]["approvals"].as_array().map(Vec::len), Some(1));
    let copies: Vec<&Value> = statement["copies"].as_object().expect("copies").values().collect();
    assert!(copies.iter().all(|copy| copy["was_there"] == true && copy["goes_with_the_answer"] == true), "{says}");
    assert_eq!(statement["recipients"].as_array().map(Vec::len), Some(1));
    assert_eq!((text(said, "ground"), text(said, "end")), ("consent_withdrawn", "fulfilled"));
    assert_eq!(said["told_by_hand"][0]["recipient"], statement["recipients"][0]["recipient"]);
    let _page = site.ctl(&["certificate", "page", &certificate, "--key", &key, "--into", &page]).ends(0);
    assert!(fs::read_to_string(&page).expect("a page").contains("What became of request"));
    let whole = fs::read_to_string(&certificate).expect("a certificate");
    assert!(!whole.contains("lindqvist") && !whole.contains("tax adviser") && !whole.contains("answered by letter"));
    fs::write(&certificate, whole.replacen("\"was_there\": true", "\"was_there\": false", 1)).expect("a file");
    let forged = site.ctl(&["certificate", "verify", &certificate, "--key", &key]).ends(20);
    assert!(forged.says("its signature is wrong").err.contains("request.certificate"), "it is no checkpoint");
}

#[test]
fn what_is_kept_by_an_exception_is_refused_in_part_and_comes_back() {
    let site = site();
    let daemon = with_samples(&site);
    let asked = site.json(&["subject", "erase", "--email", PRIYA, "--ground", "objection"]);
    let request = text(&asked, "request").to_owned();
    let _early = site.ctl(&["certificate", "request", &request]).ends(2).says("nothing to certify");
    let _none = site.ctl(&["certificate", "request", "Q1"]).ends(2).says("there is no request Q1");
    let taken = site.rows(&["subject", "identify", &request, "--how", "known for years"]);
    let record = text(&taken[0], "record");
    let except = |when: &str, record: &str| {
        site.ctl(&[
            "subject",
            "except",
            &request,
            "--record",
            record,
            "--exception",
            "legal-claims",
            "--owner",
            "legal",
            "--review-at",
            when,
            "--reason",
            "lawsuit",
            "--output",
            "json",
        ])
    };
    let _past = except("2001-01-01", record).ends(2).says("a day that is to come");
    let _strange = except("2099-01-01", "E4000000").ends(2).says("is not about");
    let words = ["subject", "except", &request, "--record", record, "--exception", "legal-claims", "--review-at"];
    let nobody = ["2099-01-01", "--reason", "lawsuit", "--owner", " "];
    let _nobody = site.ctl(&[&words[..], &nobody].concat()).ends(2).says("an owner is needed");
    let kept = except("2099-01-01", record).ends(0).json();
    let shown = site.json(&["subject", "show", &request]);
    let records = || site.rows(&["subject", "records", &request]);
    let rows = records();
    assert_eq!(rows.len(), taken.len());
    let one = rows.iter().find(|row| row["record"] == record);
    assert_eq!(one.expect("the record")["excepted"], true, "{rows:?}");
    let first = site.rows(&["subject", "records", &request, "--limit", "1"]);
    let number = text(&first[0], "record").trim_start_matches('E').to_owned();
    let rest = site.rows(&["subject", "records", &request, "--after", &number]);
    assert_eq!([first, rest].concat(), rows, "a page goes on where the one before ended");
    let _missing = site.ctl(&["subject", "records", "Q1"]).ends(2).says("there is no request Q1");
    assert_eq!(
        (&shown["exceptions"][0]["owner"], &shown["exceptions"][0]["ground"]),
        (&json!("legal"), &json!("legal_claims"))
    );
    let placed = site.json(&["hold", "place", "Case 17", "--request", &request, "--reason", "lawsuit"]);
    let rows = records();
    let held = rows.iter().filter(|row| row["holds"] == json!([placed["hold"]]));
    assert_eq!(held.count(), taken.len(), "{rows:?}");
    let exception = kept["event"].to_string();
    let end = |number: &str| site.ctl(&["subject", "end-exception", &request, number, "--reason", "it is over"]);
    let _absent = end("1").ends(2).says("has no exception 1 in force");
    let _ended = end(&exception).ends(0);
    let _twice = end(&exception).ends(2).says("in force");
    daemon.stop();
}

#[test]
fn a_person_of_whom_nothing_is_stored_gets_an_answer() {
    let site = site();
    let daemon = with_samples(&site);
    let asked = site.json(&["subject", "access", "--email", "nobody@example.org"]);
    let request = text(&asked, "request").to_owned();
    let identify = |how: &str| site.ctl(&["subject", "identify", &request, "--how", how]);
    let _unsaid = identify(" ").ends(2).says("how it was made sure who asks");
    let command = format!("subject complete {request} --end nothing-stored --reason");
    let _nothing = identify("letter").ends(2).says(&command);
    let done = ["subject", "complete", &request, "--end", "nothing-stored", "--reason", "answered"];
    let _answered = site.ctl(&done).ends(0);
    daemon.stop();
}

#[test]
fn a_month_is_counted_from_the_day_of_receipt_and_extended_once() {
    let site = site();
    let daemon = with_samples(&site);
    let ask = |day: &str| {
        let asked = site.json(&["subject", "access", "--email", PRIYA, "--received-at", day]);
        text(&asked, "request").to_owned()
    };
    let late = ask("2020-01-31T15:00:00Z");
    let shown = site.json(&["subject", "show", &late])["request"].clone();
    assert_eq!((text(&shown, "due_at"), &shown["overdue"]), ("2020-03-01T00:00:00Z", &json!(true)), "{shown}");
    let status = site.ctl(&["status", "--output", "json"]).ends(10).json();
    assert_eq!(status["attention"][0]["what"], "request_late", "{status}");
    let extend = |request: &str| site.ctl(&["subject", "extend", request, "--reason", "told on the third day"]);
    let _late = extend(&late).ends(2).says("is late already");
    let _future =
        site.ctl(&["subject", "access", "--email", PRIYA, "--received-at", "2099-01-01"]).ends(2).says("in the future");
    let done = ["subject", "complete", &late, "--end", "withdrawn", "--reason", "she called"];
    let _withdrawn = site.ctl(&done).ends(0);
    assert_eq!(site.json(&["status"])["requests_open"], 0);

    let now = site.json(&["status"]);
    let request = ask(text(&now, "now"));
    let _extended = extend(&request).ends(0);
    assert_eq!(site.json(&["subject", "show", &request])["request"]["extended"], true);
    let _twice = extend(&request).ends(2).says("was extended before");
    daemon.stop();
}

#[test]
fn a_package_opens_with_the_age_of_the_distribution_and_holds_everything() {
    let site = site();
    let daemon = with_samples(&site);
    let asked = site.json(&["subject", "access", "--email", PRIYA]);
    let request = text(&asked, "request").to_owned();
    let place = |name: &str| site.path(name).to_str().expect("a path").to_owned();
    let (key, sealed, opened) = (place("key.txt"), place("package.zip.age"), place("package.zip"));
    let made = Command::new("age-keygen").args(["-o", &key]).output().expect("age-keygen, of the package age");
    assert!(made.status.success());
    let public = fs::read_to_string(&key).expect("the key");
    let public = public.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key");
    let package = |recipient: &str| {
        site.ctl(&["subject", "package", &request, "--recipient", recipient, "--into", &sealed, "--output", "json"])
    };
    let _unknown = package(public).ends(2).says("is about no record that is there");
    let taken = site.rows(&["subject", "identify", &request, "--how", "identity card seen"]);
    let _no_key = package("age1nonsense").ends(2).says("no public key of age");
    let written = package(public).ends(0).json();
    assert_eq!(written["encrypted"], true);
    let _there = package(public).ends(2).says("exists");
    assert_eq!(state(&site, &request), "exported");

    let run = Command::new("age").args(["--decrypt", "--identity", &key, "--output", &opened, &sealed]).output();
    assert!(run.expect("age").status.success());
    let mut archive = zip::ZipArchive::new(fs::File::open(&opened).expect("a file")).expect("a ZIP file");
    let mut read = |name: &str| {
        let mut text = String::new();
        archive.by_name(name).expect("a file in it").read_to_string(&mut text).expect("text");
        text
    };
    let page = read("index.html");
    assert!(page.contains(PRIYA) && page.contains("Fernhill Bakery"), "{page}");
    let data: Value = serde_json::from_str(&read("data.json")).expect("JSON");
    assert_eq!(data["records"].as_array().expect("records").len(), taken.len());
    assert!(read("csv/contact-crm.csv").contains(PRIYA));
    let events = site.rows(&["audit", "query", "--kind", "SubjectPackageMade"]);
    assert!(events[0].to_string().contains(text(&written, "sha256")), "{events:?}");
    daemon.stop();
}

#[test]
fn what_is_restricted_is_kept_and_not_shown() {
    let site = site();
    let daemon = with_samples(&site);
    let asked = site.json(&["subject", "restrict", "--email", PRIYA]);
    let request = text(&asked, "request").to_owned();
    let restrict = || {
        let words = ["restriction", "place", "--request", &request, "--ground", "accuracy-contested", "--reason"];
        site.ctl(&[&words[..], &["the birthday is wrong", "--output", "json"]].concat())
    };
    let _nobody = restrict().ends(2).says("whose records are known");
    let taken = site.rows(&["subject", "identify", &request, "--how", "known"]);
    let record = text(&taken[0], "record");
    let done = ["subject", "complete", &request, "--end", "fulfilled", "--reason", "told"];
    let _untrue = site.ctl(&done).ends(2).says("is not restricted");
    let restriction = text(&restrict().ends(0).json(), "restriction").to_owned();
    let _hidden = site.ctl(&["entity", "show", record]).ends(2).says("is restricted by").says(&restriction);
    let explained = site.ctl(&["explain", record]).ends(0).says("its use is restricted (GDPR Art. 18)");
    assert!(!explained.out.contains(PRIYA));
    let _fulfilled = site.ctl(&done).ends(0);
    let rows = site.rows(&["restriction", "list"]);
    assert_eq!((text(&rows[0], "restriction"), text(&rows[0], "ground")), (restriction.as_str(), "accuracy_contested"));
    let lift = ["restriction", "lift", &restriction, "--reason", "corrected, and told"];
    let _lifted = site.ctl(&lift).ends(0);
    let _twice = site.ctl(&lift).ends(2).says("there is no restriction in force");
    let _shown = site.ctl(&["entity", "show", record]).ends(0);
    assert_eq!(site.rows(&["restriction", "list", "--lifted"]).len(), 1);
    daemon.stop();
}

/// Adds a channel for the tax adviser, that gives each letter to a shell script.
fn tell_adviser(site: &Site) {
    let script = format!("cat >> {0} && echo >> {0}", site.path("told").display());
    let channel = format!(
        "[[notify]]\nname = \"adviser\"\nrecipient = \"tax adviser\"\nkind = \"program\"\nbefore = []\n\
         command = [\"/bin/sh\", \"-c\", {script:?}]\n"
    );
    site.write("config.toml", &format!("{}{channel}", site.config()));
}

fn letters(site: &Site) -> Vec<Value> {
    let text = fs::read_to_string(site.path("told")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect()
}

#[test]
fn a_recipient_with_a_channel_is_told_what_was_erased_and_another_is_left_to_a_person() {
    let site = site();
    tell_adviser(&site);
    let daemon = with_samples(&site);
    let asked = site.json(&["subject", "erase", "--email", PRIYA, "--ground", "consent-withdrawn"]);
    let request = text(&asked, "request").to_owned();
    let taken = site.rows(&["subject", "identify", &request, "--how", "identity card seen"]);
    let plan = daemon.until("the plan waits", || {
        let shown = site.json(&["subject", "show", &request]);
        let plan = shown["request"]["plan"].as_str()?.to_owned();
        (site.json(&["plan", "show", &plan])["state"] == "awaiting_approval").then_some(plan)
    });
    if is_approved(&site, &plan) {
        daemon.until("everything is erased", || (state(&site, &request) == "erased").then_some(()));
        assert_eq!(site.json(&["status"])["recipients_to_tell"], json!([]), "nobody has a copy");
        let manifest = text(&site.rows(&["export", "list"])[0], "manifest").to_owned();
        let give = |to: &str| {
            site.json(&["export", "hand-over", &manifest, "--to", to, "--reason", "audit"])["recipient"].clone()
        };
        let (adviser, auditors) = (give("tax adviser"), give("auditors"));
        let letter = daemon.until("the adviser is told", || letters(&site).first().cloned());
        assert_eq!(letter["type"], "recipient_to_tell");
        let facts = &letter["data"]["facts"];
        assert_eq!((&facts["request"], &facts["manifest"]), (&json!(request), &json!(manifest)), "{letter}");
        let erased: Vec<&str> = facts["erased"].as_str().expect("items").split(", ").collect();
        assert!(taken.iter().all(|row| erased.contains(&text(row, "record"))), "{letter} {taken:?}");
        for nobody in [PRIYA, "Priya", "tax adviser"] {
            assert!(!letter.to_string().contains(nobody), "{letter}");
        }
        let recipients = || site.json(&["subject", "show", &request])["recipients"].clone();
        let rows = daemon.until("that is recorded", || Some(recipients()).filter(|rows| !rows[0]["told_at"].is_null()));
        assert_eq!(
            (&rows[0]["recipient"], &rows[0]["told_through"], &rows[0]["to_tell"]),
            (&adviser, &json!("adviser"), &json!(false))
        );
        assert_eq!((&rows[1]["channel"], &rows[1]["to_tell"]), (&Value::Null, &json!(true)), "{rows}");
        let sent = site.rows(&["notice", "list", "--state", "sent"]);
        assert_eq!((sent.len(), text(&sent[0], "subject")), (1, request.as_str()), "{sent:?}");
        assert_eq!(site.json(&["status"])["recipients_to_tell"], json!([request]));
        let tell =
            |recipient: &Value| site.ctl(&["subject", "told", &request, &recipient.to_string(), "--how", "letter"]);
        let _by_notice = tell(&adviser).ends(2).says("was told before");
        let _by_hand = tell(&auditors).ends(0);
        assert_eq!(site.json(&["status"])["recipients_to_tell"], json!([]));
        daemon.stop();
        let daemon = site.start();
        let done = ["subject", "complete", &request, "--end", "fulfilled", "--reason", "answered"];
        let _done = site.ctl(&done).ends(0);
        let _tested = site.ctl(&["notice", "test", "adviser"]).ends(0);
        let all = letters(&site);
        assert_eq!((all.len(), &all[1]["type"]), (2, &json!("test")), "told once, also after a restart: {all:?}");
        daemon.stop();
    } else {
        daemon.stop();
    }
}
