//! The manifest of a backup: no name in it leads out of the backup.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::id::Position;
use retention_fuzz::scratch;
use retentiond::halt::Halt;
use retentiond::store::backup::{Manifest, Places};

fuzz_target!(|bytes: &[u8]| {
    let places = Places { log: scratch().join("log"), keys: scratch().join("keys") };
    let manifests = places.log.join("manifests");
    std::fs::create_dir_all(&manifests).expect("a scratch directory");
    std::fs::write(manifests.join(format!("{:020}.json", 7)), bytes).expect("a scratch file");
    assert_eq!(Manifest::list(&places).expect("a list"), [Position(7)]);
    if let Ok(manifest) = Manifest::read(&places, Position(7)) {
        assert_eq!(manifest.last, Position(7));
        assert!(!manifest.journal.is_empty());
        let names = manifest.journal.iter().chain(&manifest.keys).map(|part| part.name.as_str());
        assert!(names.into_iter().all(|name| !name.contains('/') && !name.starts_with('.')));
        let _size = manifest.bytes();
        assert!(manifest.check_keys(&places, &Halt::default()).is_err(), "there are no keys");
    }
});
