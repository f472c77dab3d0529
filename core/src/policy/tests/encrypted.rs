//! Who can open bundles.

use super::*;

/// Two public keys of age, the first of its documentation.
const ONE_KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
const OTHER_KEY: &str = "age1v8y64at6f7e8gh3qnr5atnche807em36qq60jmfq8esvl5n2c3usxf2s4s";

#[test]
fn bundles_are_encrypted_to_public_keys_alone_and_what_is_none_is_refused_and_not_repeated() {
    let said = |formats: &str, keys: &str| format!("[export]\nformats = [{formats}]\nencrypt_to = {keys}\n[action]");
    let plain = one(&[("[action]", "[export]\nformats = [\"jsonl\", \"csv\"]\n[action]")]);
    assert!(plain.export.encrypt_to.is_empty());
    assert_eq!(plain.digest(), one(&[]).digest(), "what says nothing of keys is the version that it was");
    let to = |keys: &str| one(&[("[action]", &said("\"jsonl\", \"csv\"", keys))]);
    let (first, both) = (to(&format!("[\"{ONE_KEY}\"]")), to(&format!("[\"{OTHER_KEY}\", \"{ONE_KEY}\"]")));
    assert_eq!(both.export.encrypt_to.iter().map(AgeRecipient::as_str).collect::<Vec<_>>(), [ONE_KEY, OTHER_KEY]);
    assert_eq!(to(&format!("\"{ONE_KEY}\"")).digest(), first.digest());
    assert_eq!(to(&format!("[\"{ONE_KEY}\", \"{OTHER_KEY}\"]")).digest(), both.digest(), "their order says nothing");
    let digests = BTreeSet::from([plain.digest(), first.digest(), both.digest()]);
    assert_eq!(digests.len(), 3, "who can open a bundle is a part of what is approved");

    let private = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    for (keys, says) in [
        ("[]".to_owned(), "must name 1 to 20 public keys"),
        (format!("[\"{private}\"]"), "private key"),
        ("[\"ssh-ed25519 AAAA\"]".to_owned(), "X25519 keys of age alone"),
        ("[\"dpo@example.org\"]".to_owned(), "no public key of age"),
        (format!("[\"{}\"]", ONE_KEY.replace("cac8p", "cac8q")), "no public key of age"),
        (format!("[\"{ONE_KEY}\", \"{ONE_KEY}\"]"), "names a key twice"),
        (format!("[{}]", vec![format!("\"{ONE_KEY}\""); 21].join(", ")), "must name 1 to 20 public keys"),
        ("1".to_owned(), "must be a string or a list of strings"),
    ] {
        let shown = errors(&[("[action]", &said("\"jsonl\"", &keys))]);
        assert!(shown.contains("p.toml:23:") && shown.contains("`encrypt_to` ") && shown.contains(says), "{shown}");
        for repeated in [private, "dpo@", "AAAA", "cac8q"] {
            assert!(!shown.contains(repeated), "{shown}");
        }
    }
    let shown = errors(&[("[action]", &said("\"jsonl\", \"xlsx\"", &format!("[\"{ONE_KEY}\"]")))]);
    assert!(shown.contains("take xlsx out"), "{shown}");
}

#[test]
fn a_locked_policy_can_change_its_keys_and_not_stop_to_encrypt() {
    let locked = ("state = \"enforce\"", "state = \"enforce\"\nlock = \"ratchet\"");
    let of = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
        let export = match keys.is_empty() {
            true => "[action]".to_owned(),
            false => format!("[export]\nencrypt_to = [{}]\n[action]", keys.join(", ")),
        };
        set(&[("p", text("p", &[("[action]", &export), locked]))])
    };
    let (none, one, other, both) = (of(&[]), of(&[ONE_KEY]), of(&[OTHER_KEY]), of(&[ONE_KEY, OTHER_KEY]));
    for after in [&one, &other, &both] {
        for before in [&none, &one, &other, &both] {
            assert_eq!(after.loosened(before), []);
        }
        assert!(show(&none.loosened(after)).contains("`encrypt_to` is locked"));
    }
}
