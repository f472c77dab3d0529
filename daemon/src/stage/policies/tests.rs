//! What may lie in a policy directory, and what of it is read.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use super::*;

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.toml"), "schema = 1\n").unwrap();
    dir
}

fn told(dir: &tempfile::TempDir) -> String {
    read_directory(dir.path()).unwrap_err().to_string()
}

#[test]
fn what_is_no_policy_is_passed_over() {
    let dir = directory();
    for junk in
        [".good.toml.swp", ".hidden.toml", "good.toml~", "good.toml.bak", "#good.toml#", "README.md", "core", ".toml"]
    {
        std::fs::write(dir.path().join(junk), [0xff, 0x00, 0xfe]).unwrap();
    }
    std::fs::write(dir.path().join(OsStr::from_bytes(b"\xff.txt")), "x").unwrap();
    std::fs::create_dir(dir.path().join("old")).unwrap();
    std::fs::write(dir.path().join("old/other.toml"), "schema = 1\n").unwrap();
    symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
    let files = read_directory(dir.path()).unwrap();
    assert_eq!(files, Files::from([("good".to_owned(), "schema = 1\n".to_owned())]));
}

#[test]
fn what_is_called_a_policy_and_cannot_be_one_is_named() {
    let dir = directory();
    std::fs::create_dir(dir.path().join("folder.toml")).unwrap();
    assert_eq!(told(&dir), "policy file folder.toml: is not a file");

    let dir = directory();
    symlink("/nowhere/at/all", dir.path().join("dangling.toml")).unwrap();
    assert_eq!(told(&dir), "policy file dangling.toml: cannot be read");

    let dir = directory();
    std::fs::write(dir.path().join("latin.toml"), b"title = \"B\xfcro\"").unwrap();
    assert_eq!(told(&dir), "policy file latin.toml: is not UTF-8");
}

#[test]
fn a_policy_whose_name_is_not_text_is_refused_and_never_left_out() {
    let dir = directory();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"b\xfcro.toml")), "schema = 1\n").unwrap();
    assert_eq!(told(&dir), "policy file b\u{fffd}ro.toml: has a name that is not UTF-8");
}

#[test]
fn a_policy_with_an_ending_in_capitals_is_refused_and_never_left_out() {
    let dir = directory();
    std::fs::write(dir.path().join("KEEP.TOML"), "schema = 1\n").unwrap();
    assert_eq!(told(&dir), "policy file KEEP.TOML: does not end with .toml in small letters");
}

#[test]
fn a_file_of_a_gigabyte_is_refused_and_never_read_whole() {
    let dir = directory();
    File::create(dir.path().join("huge.toml")).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(told(&dir), "policy file huge.toml: is larger than 256 KiB");
}

#[test]
fn the_largest_file_is_read_and_one_more_byte_is_not() {
    let dir = directory();
    let path = dir.path().join("large.toml");
    std::fs::write(&path, "#".repeat(FILE_BYTES_MAX)).unwrap();
    assert_eq!(read_directory(dir.path()).unwrap().len(), 2);
    std::fs::write(&path, "#".repeat(FILE_BYTES_MAX + 1)).unwrap();
    assert_eq!(told(&dir), "policy file large.toml: is larger than 256 KiB");
}

#[test]
fn a_directory_holds_so_many_policies_and_no_more() {
    let dir = directory();
    for number in 1..FILES_MAX {
        std::fs::write(dir.path().join(format!("p{number}.toml")), "").unwrap();
    }
    assert_eq!(read_directory(dir.path()).unwrap().len(), FILES_MAX);
    std::fs::write(dir.path().join("one-more.toml"), "").unwrap();
    assert_eq!(told(&dir), "the policy directory holds more than 1000 policy files");
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_the_directory_from_being_looked_at() {
    let (dir, state) = (directory(), tempfile::tempdir().unwrap());
    let options = crate::store::tests::init(state.path());
    let store = Arc::new(Store::open(&options, &mut |_, _| {}).unwrap());
    let clock = crate::clock::ManualClock::starting_at(Timestamp::from_unix_seconds(1_700_000_000));
    let mut policies = Policies::new(store, Arc::new(clock.clone()), dir.path().to_owned());
    assert_eq!(policies.step().unwrap(), Step::Worked);
    assert!(!policies.health().lock().errors.is_empty());
    assert!(matches!(policies.step().unwrap(), Step::IdleUntil(_)));
    std::fs::remove_file(dir.path().join("good.toml")).unwrap();
    clock.set(Timestamp::from_unix_seconds(1_600_000_000));
    assert_eq!(policies.step().unwrap(), Step::Worked);
    assert_eq!(policies.health().lock().errors, [] as [String; 0]);
}
