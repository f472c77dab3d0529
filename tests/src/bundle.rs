//! Bundles as somebody reads them who may: those that are encrypted, with the key of nobody but these tests.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use retentiond::connector::archive::ITEMS_FILE;
use retentiond::keyholders::Identities;

/// To whom the bundles of these tests are encrypted.
pub const HOLDER: &str = "age1shvnltsg0zue9t9hxghzm4ykyxsv4e843w3z9jgdejp4ac98mfvq95yzd4";

/// The private half, as a file of `age-keygen` has it.
pub const IDENTITY: &str = "AGE-SECRET-KEY-1GXF9L8EV5YEJQH5V3CATH8N3RFKG4TPTEHWK48ZQE9WEUQDMSVJQLEKAPQ\n";

/// Lets a policy encrypt its bundles to [`HOLDER`].
///
/// # Panics
/// When it says nothing of exports.
#[must_use]
pub fn encrypted(policy: &str) -> String {
    let with = policy.replace("[export]\n", &format!("[export]\nencrypt_to = [\"{HOLDER}\"]\n"));
    assert_ne!(with, policy, "a policy with [export]");
    with
}

/// Says whether the files of a bundle are encrypted, also of one that is not whole.
#[must_use]
pub fn is_encrypted(bundle: &Path) -> bool {
    bundle.join(format!("{ITEMS_FILE}.age")).exists()
}

/// Reads a file of a bundle by the name that it has once it is decrypted; `None` of one that is not there or cannot be
/// decrypted.
#[must_use]
pub fn read(bundle: &Path, name: &str) -> Option<Vec<u8>> {
    if let Ok(plain) = fs::read(bundle.join(name)) {
        return Some(plain);
    }
    let sealed = fs::read(bundle.join(format!("{name}.age"))).ok()?;
    let mut plain = Vec::new();
    Identities::read(IDENTITY).ok()?.decrypt(&*sealed).ok()??.read_to_end(&mut plain).ok()?;
    Some(plain)
}
