use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use super::super::checkpoint::{Checkpoint, keys_of};
use super::*;
use crate::id::Digest;

/// A witness that is none of ours: it signs what it is told to, at any time.
struct Witness {
    name: &'static str,
    secret: SigningKey,
}

impl Witness {
    fn of(name: &'static str, seed: u8) -> Self {
        Self { name, secret: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn key(&self) -> WitnessKey {
        WitnessKey::parse(&self.vkey(4)).unwrap()
    }

    fn vkey(&self, kind: u8) -> String {
        let key = [&[kind], self.secret.verifying_key().as_bytes().as_slice()].concat();
        format!("{}+{:08x}+{}", self.name, signed_note::key_id(self.name, &key), STANDARD.encode(&key))
    }

    fn line(&self, text: &str, seconds: u64) -> String {
        let signature = self.secret.sign(format!("cosignature/v1\ntime {seconds}\n{text}").as_bytes());
        let signed = [self.key().number.as_slice(), &seconds.to_be_bytes(), &signature.to_bytes()].concat();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(signed))
    }
}

fn note() -> String {
    let signer = keys_of(&[3; 32], "log.example.org/retention").unwrap().0;
    Checkpoint { origin: "log.example.org/retention".to_owned(), size: 9, root: Digest([7; 32]) }.sign(&signer).unwrap()
}

/// The example of C2SP tlog-cosignature, whose key nobody was told: it is read as one, and holds under no other key.
#[test]
fn the_example_of_the_specification_has_the_form_that_is_read() {
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let (text, lines) = parts_of(note).unwrap();
    assert_eq!(text.lines().count(), 3);
    let signed = lines.trim_end().rsplit_once(' ').unwrap().1;
    let record = format!("20852163 witness.example.com/w1+8d66cf3f+BAAA {signed}");
    let read = Cosignature::parse_record(&record).unwrap();
    assert_eq!((read.at().to_string().as_str(), read.witness()), ("2023-03-20T12:25:47Z", "witness.example.com/w1"));
    assert!(note.ends_with(&read.line()));
    let stranger = Witness::of("witness.example.com/w1", 1).key();
    assert_eq!(stranger.cosignature(20_852_163, text, lines), Err(CosignatureError::NotCosigned));
}

#[test]
fn a_cosignature_holds_for_its_checkpoint_its_time_and_its_witness_alone() {
    let (one, two) = (Witness::of("witness.example/w1", 1), Witness::of("witness.example/w2", 2));
    let note = note();
    let (text, _) = parts_of(&note).unwrap();
    let line = one.line(text, 1_700_000_000);
    let cosignature = one.key().cosignature(9, text, &line).unwrap();
    assert_eq!(cosignature.at(), Timestamp::from_unix_seconds(1_700_000_000));
    assert_eq!((cosignature.witness(), cosignature.line()), ("witness.example/w1", line.clone()));
    let kept = cosignature.record();
    assert_eq!(Cosignature::parse_record(kept.trim_end()).as_ref(), Some(&cosignature));
    assert_eq!(cosignature.check(text), Ok(()));
    assert_eq!(cosignature.check(&text.replace("\n9\n", "\n8\n")), Err(CosignatureError::Wrong));

    assert_eq!(two.key().cosignature(9, text, &line), Err(CosignatureError::NotCosigned));
    let other_text = text.replace("\n9\n", "\n8\n");
    assert_eq!(one.key().cosignature(8, &other_text, &line), Err(CosignatureError::Wrong));
    // Another time under the same signature.
    let mut changed = cosignature.clone();
    changed.signed[11] ^= 1;
    assert_eq!(one.key().cosignature(9, text, &changed.line()), Err(CosignatureError::Wrong));
    // The latest of several, and nothing of strangers.
    let lines = [two.line(text, 5), one.line(text, 1_700_000_007), line, "\u{2014} x AAAA\n".to_owned()].concat();
    assert_eq!(one.key().cosignature(9, text, &lines).unwrap().at(), Timestamp::from_unix_seconds(1_700_000_007));
}

#[test]
fn a_cosigned_checkpoint_is_one_for_its_log_and_says_how_many_cosigned() {
    let witnesses = [Witness::of("a", 1), Witness::of("b", 2), Witness::of("c", 3)];
    let keys: Vec<WitnessKey> = witnesses.iter().map(Witness::key).collect();
    let plain = note();
    let (text, _) = parts_of(&plain).unwrap();
    let signed: Vec<Cosignature> = witnesses[..2]
        .iter()
        .map(|witness| witness.key().cosignature(9, text, &witness.line(text, 77)).unwrap())
        .collect();
    let cosigned = cosigned(&plain, &signed);
    let log = keys_of(&[3; 32], "log.example.org/retention").unwrap().1;
    assert_eq!(Checkpoint::verify(&cosigned, &[&log]), Checkpoint::verify(&plain, &[&log]));
    assert!(Checkpoint::verify(&cosigned, &[&log]).is_ok());
    assert_eq!(check_cosigned(&cosigned, 9, &keys, 2).unwrap(), signed);
    assert_eq!(check_cosigned(&cosigned, 9, &keys, 3), Err(CosignatureError::TooFew { found: 2, needed: 3 }));
    assert_eq!(check_cosigned(&plain, 9, &keys[..1], 1), Err(CosignatureError::TooFew { found: 0, needed: 1 }));
    // A key that is given twice, or under another name, is one witness.
    let twice = [keys[0].clone(), keys[0].clone(), Witness::of("alias", 1).key()];
    assert_eq!(check_cosigned(&cosigned, 9, &twice, 2), Err(CosignatureError::TooFew { found: 1, needed: 2 }));
    // A wrong one is told, and not passed over.
    let forged = [plain.as_str(), &witnesses[2].line("another text\n", 77)].concat();
    assert_eq!(check_cosigned(&forged, 9, &keys, 0), Err(CosignatureError::Wrong));
}

#[test]
fn keys_that_are_none_are_told_apart() {
    let witness = Witness::of("w", 1);
    let good = witness.vkey(4);
    assert_eq!(WitnessKey::parse(&good).unwrap().text(), good);
    assert_eq!(WitnessKey::parse(&witness.vkey(1)), Err(CosignatureError::KeyOfALog));
    assert_eq!(WitnessKey::parse(&witness.vkey(6)), Err(CosignatureError::BadKey));
    assert_eq!(WitnessKey::parse(&good.replacen("w+", "v+", 1)), Err(CosignatureError::WrongNumber));
    let long = "w".repeat(WITNESS_KEY_BYTES_MAX) + &good;
    // The neutral element of the curve: anybody signs with it.
    let weak = [&[4, 1][..], &[0; 31]].concat();
    let weak = format!("w+{:08x}+{}", signed_note::key_id("w", &weak), STANDARD.encode(&weak));
    for bad in ["", "w", "w+00", "+00000000+BAAA", "w+0000000g+BAAA", "w x+00000000+BAAA", "w+00000000+B", &long, &weak]
    {
        assert_eq!(WitnessKey::parse(bad), Err(CosignatureError::BadKey), "{bad}");
    }
}

#[test]
fn a_checkpoint_does_not_grow_beyond_what_is_read() {
    let witness = Witness::of("w", 1);
    let plain = note();
    let (text, _) = parts_of(&plain).unwrap();
    let one = witness.key().cosignature(9, text, &witness.line(text, 77)).unwrap();
    let many = cosigned(&plain, std::iter::repeat_n(&one, 10_000));
    assert_eq!(Checkpoint::unverified(&many), Checkpoint::unverified(&plain));
    assert_eq!(many.matches(&one.line()).count(), LINES_MAX);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(text in "[ -~\u{2014}\n]{0,300}") {
        let _ = WitnessKey::parse(&text);
        let key = Witness::of("w", 1).key();
        let _ = key.cosignature(1, "text\n", &text);
        let _ = check_cosigned(&text, 1, &[key], 1);
        if let Some(read) = Cosignature::parse_record(&text) {
            prop_assert_eq!(read.record(), text + "\n");
        }
    }

    #[test]
    fn a_changed_record_is_refused_or_does_not_hold(at in 0usize..200, byte in 0x20u8..0x7f) {
        let witness = Witness::of("w", 1);
        let plain = note();
        let (text, _) = parts_of(&plain).unwrap();
        let whole = witness.key().cosignature(9, text, &witness.line(text, 77)).unwrap().record();
        let mut changed = whole.trim_end().to_owned().into_bytes();
        let at = at % changed.len();
        // The size is held against the checkpoint and not against the signature.
        prop_assume!(at > 0 && changed[at] != byte);
        changed[at] = byte;
        if let Some(read) = Cosignature::parse_record(&String::from_utf8(changed).unwrap()) {
            prop_assert!(read.size != 9 || read.check(text).is_err());
        }
    }
}
