//! Where what the daemon writes may lie, and for how long.

use super::*;

#[test]
fn what_the_daemon_writes_overwrites_nothing_and_lies_where_nothing_is_taken_in() {
    let list = "[[source]]\nname = \"list\"\nkind = \"csv\"\ndrop_dir = \"list\"\nmapping = \"m.toml\"\n";
    let ledger = |file: &str| format!("[backup]\ndir = \"a\"\nkeys_dir = \"b\"\nerasures = \"{file}\"\n");
    let publish = |file: &str| format!("[audit]\npublish = [{{ file = \"{file}\" }}, {{ file = \"checkpoint\" }}]\n");
    let each: [fn(&str) -> String; 2] = [ledger, publish];
    for written in each {
        for file in ["root.key", "x/../root.key", "config.toml", "m.toml"] {
            is_refused(&with(&(list.to_owned() + &written(file))), "which would be overwritten");
        }
        is_refused(&with(&(list.to_owned() + &written("list/x"))), "must lie outside every folder");
        let there = parse(&with(&(list.to_owned() + &written("policies/x")))).unwrap();
        assert!(unwise_places(&there).concat().contains("should lie outside"));
        let elsewhere = parse(&with(&(list.to_owned() + &written("elsewhere")))).unwrap();
        assert_eq!(unwise_places(&elsewhere), [] as [&str; 0]);
    }
    is_refused(&with(&ledger("state/exports/x")), "must lie outside");
    assert_eq!(unwise_places(&parse(&with(&publish("state/exports/x"))).unwrap()).len(), 1);
    is_refused(&with(&(publish("erasures") + &ledger("erasures"))), "the file of the ledger of erasures");
    assert!(parse(&with(&publish("checkpoint"))).is_ok());
}

#[test]
fn policies_and_a_root_key_that_are_lost_or_copied_with_the_data_are_told_and_keep_no_daemon_from_starting() {
    let told = |text: &str| unwise_places(&parse(text).unwrap());
    for dir in ["state/policies", "state", "state/exports/p", "."] {
        let text = LEAST.replace("dir = \"policies\"", &format!("dir = \"{dir}\""));
        assert!(told(&text).concat().contains("`policies.dir` should lie outside"), "{dir}");
    }
    let copies = "[backup]\ndir = \"a\"\nkeys_dir = \"b\"\n";
    for dir in ["a", "b/deeper"] {
        let text = with(copies).replace("root.key", &format!("{dir}/root.key"));
        assert!(told(&text).concat().contains("should lie outside `backup.dir` and `backup.keys_dir`"), "{dir}");
    }
    assert_eq!(told(&with(copies)), [] as [&str; 0]);
}

#[test]
fn copies_of_keys_that_are_over_before_the_next_backup_is_made_are_told() {
    let told = |line: &str, keep: &str| {
        let copies = "[backup]\ndir = \"a\"\nkeys_dir = \"b\"\n";
        unwise_places(&parse(&with(&format!("{copies}schedule = \"{line}\"\nkeep_keys = \"{keep}\"\n"))).unwrap())
    };
    assert_eq!(told("30 2 * * *", "P14D"), [] as [&str; 0]);
    assert_eq!(told("30 2 1 * *", "P31D"), [] as [&str; 0]);
    for (line, keep) in [("30 2 1 * *", "P30D"), ("30 2 * * sun", "P2D"), ("0 3 1 1 *", "P14D")] {
        assert!(told(line, keep).concat().contains("`backup.keep_keys` should be longer"), "{line} {keep}");
    }
}
