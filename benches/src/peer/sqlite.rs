//! SQLite, bundled: WAL, synchronous=FULL, three tables with random keys, transactions of 1,000. It is handed whole
//! lines: it parses no cells, seals nothing and hashes nothing.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::Outcome;
use crate::data::{Contact, Contacts};
use crate::figure::Stopwatch;

const ROWS_PER_TRANSACTION: u64 = 1_000;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE event (position INTEGER PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE entity (id TEXT PRIMARY KEY, kind TEXT NOT NULL, version INTEGER NOT NULL, due INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE due (day INTEGER, id TEXT, PRIMARY KEY (day, id)) WITHOUT ROWID;
";

/// Inserts all contacts and returns the seconds.
pub(crate) fn intake(dir: &Path, rows: u64) -> Outcome<f64> {
    let mut connection = Connection::open(dir.join("peer.sqlite"))?;
    connection.execute_batch(TABLES)?;
    let (mut contacts, mut contact) = (Contacts::new(rows), Contact::default());
    let watch = Stopwatch::start();
    let mut position = 0u64;
    let mut making = 0.0;
    while position < rows {
        let transaction = connection.transaction()?;
        {
            let mut event = transaction.prepare_cached("INSERT INTO event VALUES (?1, ?2)")?;
            let mut entity = transaction.prepare_cached("INSERT INTO entity VALUES (?1, 'contact', ?2, ?3)")?;
            let mut due = transaction.prepare_cached("INSERT INTO due VALUES (?1, ?2)")?;
            for _ in 0..ROWS_PER_TRANSACTION {
                let make = Stopwatch::start();
                if !contacts.next_into(&mut contact) {
                    break;
                }
                making += make.seconds();
                position += 1;
                event.execute(params![position, contact.line])?;
                entity.execute(params![contact.id, position, contact.due_day])?;
                due.execute(params![contact.due_day, contact.id])?;
            }
        }
        transaction.commit()?;
    }
    Ok(watch.seconds() - making)
}

const CONTACTS: &str = "
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -1000000;
    CREATE TABLE contact (id TEXT, name TEXT, email TEXT, phone TEXT, company TEXT, city TEXT, title TEXT, created TEXT,
        modified TEXT, notes TEXT);
";

/// What `contacts-three-leaves.toml` selects.
const THREE_LEAVES: &str = "SELECT count(*) FROM contact WHERE modified < '2025-06-01' AND instr(company, 'a') > 0
    AND title IN ('Buyer', 'Owner')";

/// Fills a plain table of the cells, all of it in its cache, and returns the seconds of a selection, and its count. No
/// index helps either side.
pub(crate) fn select(dir: &Path, rows: u64) -> Outcome<(f64, u64)> {
    let mut connection = Connection::open(dir.join("select.sqlite"))?;
    connection.execute_batch(CONTACTS)?;
    let transaction = connection.transaction()?;
    {
        let (mut contacts, mut contact) = (Contacts::new(rows), Contact::default());
        let mut insert = transaction.prepare("INSERT INTO contact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        while contacts.next_into(&mut contact) {
            insert.execute(rusqlite::params_from_iter(contact.line.split(',')))?;
        }
    }
    transaction.commit()?;
    let count = |connection: &Connection| connection.query_row(THREE_LEAVES, [], |row| row.get::<_, u64>(0));
    count(&connection)?;
    let watch = Stopwatch::start();
    let selected = count(&connection)?;
    Ok((watch.seconds(), selected))
}
