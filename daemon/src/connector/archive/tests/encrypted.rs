use std::io::Read as _;

use retention_core::policy::AgeRecipient;

use super::*;
use crate::keyholders::OneTimeKey;

/// Of the documentation of age: whoever has its private half, this program does not.
const HOLDER: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

struct Sealed {
    written: Written,
    key: Arc<OneTimeKey>,
}

impl Sealed {
    fn of(items: &Items, formats: Formats) -> Self {
        let root = tempfile::tempdir().unwrap();
        let holder: AgeRecipient = HOLDER.parse().unwrap();
        let encryption = Encryption::to([holder]).unwrap();
        let key = encryption.own_key();
        let spec = BundleSpec { encryption: Some(encryption), ..spec(formats, CsvProfile::Exact) };
        let bundle = write(root.path(), spec, items);
        Self { written: Written { root, bundle }, key }
    }

    fn verify(&self, key: Option<&OneTimeKey>, expected: Vec<ExpectedItem>) -> Result<Verified, &'static str> {
        let Written { root, bundle } = &self.written;
        let expected = expected.into_iter();
        verify(root.path(), &bundle.name, bundle.manifest, key, expected, &Halt::default())
            .map_err(|error| error.code())
    }

    fn verify_recorded(&self) -> Result<Verified, &'static str> {
        let Written { root, bundle } = &self.written;
        verify_recorded(root.path(), &bundle.name, bundle.manifest, &Halt::default()).map_err(|error| error.code())
    }

    fn opened(&self, name: &str) -> Vec<u8> {
        let stored = fs::read(self.written.directory().join(format!("{name}.age"))).unwrap();
        let mut plain = Vec::new();
        self.key.decrypt(&*stored).unwrap().unwrap().read_to_end(&mut plain).unwrap();
        plain
    }
}

fn csv() -> Formats {
    [ExportFormat::Jsonl, ExportFormat::Csv].into()
}

#[test]
fn an_encrypted_bundle_holds_what_another_holds_and_is_compared_as_strictly() {
    // Another layout of the same kind widens the file that is there.
    let wider =
        layout(Kind::Task, &[("Subject", "subject", FieldType::Text), ("More", "custom.More", FieldType::Text)]);
    let long = "long ".repeat(100_000);
    let items = some_items().with(&wider, &[Some("write"), Some(&long)]);
    let (plain, sealed) = (Written::of(&items, csv(), CsvProfile::Exact), Sealed::of(&items, csv()));
    let (manifest, _) = read_manifest(sealed.written.root.path(), &sealed.written.bundle.name).unwrap();
    assert!(sealed.written.bundle.is_encrypted && manifest.is_encrypted() && !plain.bundle.is_encrypted);
    let mut names = files_of(&plain.directory());
    names.retain(|name| name != MANIFEST_FILE);
    for name in &names {
        let wanted = fs::read(plain.directory().join(name)).unwrap();
        if name == MANIFEST_ITEMS_FILE {
            assert!(fs::read(sealed.written.directory().join(name)).unwrap() == wanted);
            continue;
        }
        assert!(sealed.opened(name) == wanted, "{name}");
        assert!(!sealed.written.directory().join(name).exists(), "{name}");
        let said = manifest.file_of(name).and_then(|file| file.plain).unwrap();
        assert_eq!((said.bytes, said.sha256), (wanted.len() as u64, Digest::of(&wanted)), "{name}");
    }
    assert_eq!(manifest.files.len(), names.len());

    let verified = sealed.verify(Some(&sealed.key), items.expected()).unwrap();
    assert_eq!((verified.items, verified.is_sealed), (4, false));
    let code = |change: fn(&mut Vec<ExpectedItem>)| {
        let mut expected = items.expected();
        change(&mut expected);
        sealed.verify(Some(&sealed.key), expected).unwrap_err()
    };
    assert_eq!(code(|e| e.truncate(2)), "item_extra");
    assert_eq!(code(|e| e[0].digest = Digest::of(b"")), "item_changed");
    assert_eq!(code(|e| e.push(ExpectedItem { entity: EntityId(99), ..e[0] })), "items_missing");
}

#[test]
fn without_the_key_it_is_said_that_what_stands_in_it_was_not_seen() {
    let items = some_items();
    let sealed = Sealed::of(&items, csv());
    assert_eq!(sealed.verify(None, items.expected()), Err("bundle_key_gone"));
    assert_eq!(sealed.verify(Some(&OneTimeKey::generate()), items.expected()), Err("file_changed"));
    let verified = sealed.verify_recorded().unwrap();
    assert_eq!((verified.items, verified.is_sealed), (3, true));
}

#[test]
fn a_workbook_is_never_made_beside_what_is_encrypted() {
    let root = tempfile::tempdir().unwrap();
    let encryption = Encryption::to([HOLDER.parse().unwrap()]).ok();
    let spec = BundleSpec { encryption, ..spec(all_formats(), CsvProfile::Exact) };
    let outcome = DiskArchive::at(root.path()).write(spec, &mut |_| Ok(()));
    assert_eq!(outcome, Outcome::Refused(Refusal { code: "workbook", retry: Retry::Never }));
    assert_eq!(files_of(root.path()).len(), 0);
    assert!(Encryption::to([]).is_err(), "to nobody nothing is encrypted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_byte_of_any_file_is_found_with_the_key_and_without(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255u8
    ) {
        let items = some_items();
        let sealed = Sealed::of(&items, csv());
        let files = files_of(&sealed.written.directory());
        let path = sealed.written.directory().join(&files[file.index(files.len())]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&path, bytes).unwrap();
        prop_assert!(sealed.verify(Some(&sealed.key), items.expected()).is_err());
        prop_assert!(sealed.verify_recorded().is_err());
    }
}
