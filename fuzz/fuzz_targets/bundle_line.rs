//! Lines of `items.jsonl` and of layouts: a layout has one form; an item that was read writes itself, and is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retention_core::evidence::item::text_as_written;
use retention_core::evidence::{ExportItem, ExportLayout, ItemHead, ParsedItem};
use retention_core::record::Layout;
use retention_fuzz::assert_plain;

fuzz_target!(|line: &[u8]| {
    match ExportLayout::parse_line(line) {
        Ok(layout) => {
            let mut written = Vec::new();
            layout.canonical_line(&mut written);
            assert_eq!(written, line);
        }
        Err(error) => assert_plain(&error.to_string()),
    }
    let head = ItemHead::parse(line);
    let item = match ParsedItem::parse_line(line) {
        Ok(item) => item,
        Err(error) => return assert_plain(&error.to_string()),
    };
    let layout = Layout { source: item.source.clone(), kind: item.kind, columns: Vec::new(), named_dates: Vec::new() };
    let layout = ExportLayout::of(layout);
    let written =
        ExportItem { entity: item.entity, version: item.version, layout: &layout, record: &item.record }.line();
    let again = ParsedItem::parse_line(written.bytes()).expect("what was written is read");
    assert_eq!(again, ParsedItem { layout: layout.digest(), ..item.clone() });
    let head_again = ItemHead::parse(written.bytes()).expect("what was written has a head");
    assert!(head_again.entity == item.entity && head_again.version == item.version && head_again.kind == item.kind);
    assert_eq!(head_again.source, text_as_written(&item.source));
    // The short way to an item and the long one must not see two different items in one line.
    if let Ok(head) = head {
        assert_eq!((head.entity, head.version, head.kind), (item.entity, item.version, item.kind));
        assert_eq!(head.layout, item.layout);
    }
});
