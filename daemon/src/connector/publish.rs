//! Places outside to which signed checkpoints are told, so that others hold them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use retention_core::evidence::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint};
use retention_core::id::Digest;

use crate::connector::bounded::within;
use crate::connector::program::Program;
use crate::connector::web::{self, NoAnswer};
use crate::diagnostics::Redacted;
use crate::flush::{Door, Flush, FlushGate, OpenGate, through};
use crate::halt::Halt;

/// A place that takes checkpoints. Telling it one again changes nothing.
pub trait Publication: Send {
    /// Returns what people call it.
    fn name(&self) -> String;

    /// Returns how many events the checkpoint covers that it has, and its root; `None` when it has none or cannot be
    /// asked.
    fn has(&self) -> Option<(u64, Digest)>;

    /// Tells it a checkpoint, with the number of events that it covers.
    ///
    /// # Errors
    /// Says why it did not take it, in a sentence without personal data.
    fn tell(&mut self, size: u64, note: &str) -> Result<(), String>;
}

/// A file elsewhere, which always has the newest checkpoint, whole.
pub struct FilePlace {
    path: PathBuf,
    gate: Arc<dyn FlushGate>,
}

impl FilePlace {
    /// Writes to a path; its directory must be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self::gated(path, Arc::new(OpenGate))
    }

    /// As [`Self::at`], with a gate around every flush.
    #[must_use]
    pub fn gated(path: PathBuf, gate: Arc<dyn FlushGate>) -> Self {
        Self { path, gate }
    }

    fn replace(&self, note: &str) -> io::Result<()> {
        let door: Door<'_> = (self.gate.as_ref(), Flush::Published);
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tmp");
        // What a crash left, or a link that somebody else put there, which must lead nowhere.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Everybody may read a checkpoint: that is what it is for.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
        file.write_all(note.as_bytes())?;
        through(door, || file.sync_all())?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(dir) => through(door, || File::open(dir)?.sync_all()),
            None => Ok(()),
        }
    }
}

impl Publication for FilePlace {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn has(&self) -> Option<(u64, Digest)> {
        // Opening a pipe would wait for whoever writes into it.
        fs::metadata(&self.path).ok().filter(fs::Metadata::is_file)?;
        let mut text = String::new();
        File::open(&self.path).ok()?.take(CHECKPOINT_BYTES_MAX as u64).read_to_string(&mut text).ok()?;
        Checkpoint::unverified(&text).ok().map(|checkpoint| (checkpoint.size, checkpoint.root))
    }

    fn tell(&mut self, _size: u64, note: &str) -> Result<(), String> {
        self.replace(note).map_err(|error| error.to_string())
    }
}

/// A program that gets the checkpoint on its standard input and ends with 0 when it has it.
pub struct CommandPlace(Program);

impl CommandPlace {
    /// Tells a program.
    #[must_use]
    pub fn of(program: Program) -> Self {
        Self(program)
    }
}

impl Publication for CommandPlace {
    fn name(&self) -> String {
        format!("command {}", self.0.path())
    }

    fn has(&self) -> Option<(u64, Digest)> {
        None
    }

    fn tell(&mut self, _size: u64, note: &str) -> Result<(), String> {
        self.0.give(note).map_err(|error| error.to_string())
    }
}

/// How long one request may take in all.
const REQUEST_MAX: Duration = Duration::from_secs(15);

/// A web server that is posted each checkpoint, and has it when it answers with a status from 200 to 299.
pub struct WebPlace {
    url: Redacted<String>,
    ca_file: Option<PathBuf>,
    halt: Halt,
    request_max: Duration,
}

impl WebPlace {
    /// Posts to a URL, of which people are told the host alone: the rest may hold a secret. `halt` ends a request
    /// early.
    #[must_use]
    pub fn at(url: Redacted<String>, ca_file: Option<PathBuf>, halt: Halt) -> Self {
        Self { url, ca_file, halt, request_max: REQUEST_MAX }
    }
}

impl Publication for WebPlace {
    fn name(&self) -> String {
        let host = self.url.reveal().split_once("://").map_or("", |(_, rest)| rest);
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        format!("web {}", host.rsplit('@').next().unwrap_or_default())
    }

    fn has(&self) -> Option<(u64, Digest)> {
        None
    }

    fn tell(&mut self, _size: u64, note: &str) -> Result<(), String> {
        let (url, ca_file, request_max) = (self.url.clone(), self.ca_file.clone(), self.request_max);
        let note = note.to_owned();
        let told = within(&self.halt, move || {
            let agent = web::agent(ca_file.as_deref(), request_max);
            let agent = agent.map_err(|_| "its file of certificate authorities cannot be read".to_owned())?;
            let request = agent.post(url.reveal()).header("content-type", "text/plain; charset=utf-8");
            match request.send(&note) {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(format!("it answered with the status {}", answer.status().as_u16())),
                Err(error) => Err(NoAnswer::because(&error).in_words().to_owned()),
            }
        });
        told.unwrap_or_else(|unfinished| Err(unfinished.to_string()))
    }
}

/// The program's own messages, and so the journal of systemd and whatever that is forwarded to.
#[derive(Debug, Default)]
pub struct JournalPlace;

impl Publication for JournalPlace {
    fn name(&self) -> String {
        "journal".to_owned()
    }

    fn has(&self) -> Option<(u64, Digest)> {
        None
    }

    fn tell(&mut self, size: u64, note: &str) -> Result<(), String> {
        tracing::info!(size, checkpoint = note.trim_end(), "a checkpoint of the log was signed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use retention_core::evidence::checkpoint::keys_of;

    use super::*;
    use crate::flush::failing::{CUTS, Failing};

    fn note(size: u64) -> String {
        let signer = keys_of(&[1; 32], "log").unwrap().0;
        Checkpoint { origin: "log".to_owned(), size, root: Digest([2; 32]) }.sign(&signer).unwrap()
    }

    #[test]
    fn a_file_always_has_the_newest_one_whole_and_says_which() {
        let dir = tempfile::tempdir().unwrap();
        let mut place = FilePlace::at(dir.path().join("checkpoint"));
        assert_eq!(place.has(), None);
        for size in [7, 12] {
            place.tell(size, &note(size)).unwrap();
            assert_eq!(place.has(), Some((size, Digest([2; 32]))));
            assert_eq!(fs::read_to_string(dir.path().join("checkpoint")).unwrap(), note(size));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A link in the way leads nowhere.
        let other = dir.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("checkpoint.tmp")).unwrap();
        place.tell(13, &note(13)).unwrap();
        assert_eq!(
            (place.has().map(|(size, _)| size), fs::read_to_string(&other).unwrap().as_str()),
            (Some(13), "kept")
        );
        let mut nowhere = FilePlace::at(dir.path().join("absent/checkpoint"));
        assert!(nowhere.tell(7, &note(7)).is_err());
    }

    #[test]
    fn a_flush_that_fails_persisted_or_not_leaves_the_old_checkpoint_or_the_new_one_whole() {
        for (has_old, (fails, remains)) in CUTS.map(|cut| (false, cut)).into_iter().chain(CUTS.map(|cut| (true, cut))) {
            let mut stops = 0;
            loop {
                let says = format!("{has_old}, {fails:?} flush {}, {remains:?}", stops + 1);
                let dir = tempfile::tempdir().unwrap();
                let elsewhere = dir.path().join("elsewhere");
                fs::create_dir(&elsewhere).unwrap();
                let path = elsewhere.join("checkpoint");
                let old = has_old.then(|| note(7));
                if let Some(old) = &old {
                    FilePlace::at(path.clone()).tell(7, old).unwrap();
                }
                let gate = Failing::of(Flush::Published);
                gate.arm(std::slice::from_ref(&elsewhere), stops + 1, fails);
                let mut place = FilePlace::gated(path.clone(), gate.clone());
                let told = place.tell(12, &note(12));
                if !gate.has_failed() {
                    told.unwrap();
                    break;
                }
                assert!(told.is_err(), "{says}");
                gate.cut(remains);
                let lies = fs::read_to_string(&path).ok();
                assert!(lies == old || lies == Some(note(12)), "{says}: {lies:?}");
                place.tell(12, &note(12)).unwrap();
                gate.cut_now();
                assert_eq!(fs::read_to_string(&path).unwrap(), note(12), "{says}");
                assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1, "{says}");
                stops += 1;
            }
            assert_eq!(stops, 2, "of the file, and of its name");
        }
    }

    /// Answers one request after the other, and returns what was posted.
    fn server(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/checkpoints?token=secret", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let mut posted = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = io::BufReader::new(stream);
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    io::BufRead::read_line(&mut reader, &mut line).unwrap();
                    if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                        length = bytes.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                posted.push(String::from_utf8(body).unwrap());
                let mut stream = reader.into_inner();
                write!(stream, "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
            posted
        });
        (url, serving)
    }

    #[test]
    fn a_web_server_has_it_when_it_says_so_and_its_url_is_told_to_nobody() {
        let (url, serving) = server(&["503 not now", "302 elsewhere\r\nlocation: http://127.0.0.1:1/", "204 taken"]);
        let mut place = WebPlace::at(Redacted(url), None, Halt::default());
        assert!(place.name().starts_with("web 127.0.0.1:") && !place.name().contains("secret"), "{}", place.name());
        assert_eq!(place.tell(7, &note(7)), Err("it answered with the status 503".to_owned()));
        assert_eq!(
            place.tell(7, &note(7)),
            Err("it answered with the status 302".to_owned()),
            "no redirect is followed"
        );
        place.tell(8, &note(8)).unwrap();
        assert_eq!(serving.join().unwrap(), [note(7), note(7), note(8)]);
        assert_eq!(place.tell(9, &note(9)), Err("it cannot be reached".to_owned()));
        assert_eq!(
            WebPlace::at(Redacted("https://me:pass@x.example/a".to_owned()), None, Halt::default()).name(),
            "web x.example"
        );
    }

    #[test]
    fn a_command_has_it_when_it_ends_well() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("got").display().to_string();
        let shell = |script: &str| {
            let arguments = vec!["-c".to_owned(), script.to_owned()];
            CommandPlace::of(Program::of("/bin/sh".to_owned(), arguments, Halt::default()))
        };
        shell(&format!("cat > {into}")).tell(7, &note(7)).unwrap();
        assert_eq!(fs::read_to_string(&into).unwrap(), note(7));
        shell("exit 0").tell(7, &note(7)).unwrap();
        assert!(shell("exit 3").tell(7, &note(7)).unwrap_err().contains('3'));
        let mut absent = CommandPlace::of(Program::of("/no/such/program".to_owned(), Vec::new(), Halt::default()));
        assert!(absent.tell(7, &note(7)).is_err());
        let halt = Halt::default();
        halt.ask();
        let mut hangs = CommandPlace::of(Program::of("/bin/sleep".to_owned(), vec!["1000".to_owned()], halt));
        assert_eq!(hangs.tell(7, &note(7)), Err("the daemon stops".to_owned()));
    }
}
