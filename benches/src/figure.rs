//! Clocks, percentiles, sizes, and the lines that are printed.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use crate::Outcome;

/// Prints one line.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when the output is gone.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Measures machine time.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the seconds since it began.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Returns the middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
}

/// Returns the figure below which so many of a hundred are.
pub(crate) fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Writes figures as `median (lowest to highest)`.
pub(crate) fn spread(figures: &[f64], decimals: usize) -> String {
    let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.decimals$} ({low:.decimals$} to {high:.decimals$})", median(figures))
}

/// Returns the one-minute load average: who else works on the machine.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// Returns the processor seconds that this process has used, which the load of others hardly changes.
pub(crate) fn cpu_seconds() -> Outcome<f64> {
    // The kernel tells them in hundredths, as the 14th and 15th field; the second is a name that may hold spaces.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("the kernel's account of this process cannot be read")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or(f64::NAN));
    Ok(ticks.sum::<f64>() / 100.0)
}

/// Memory of this process.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// Now resident, in MiB.
    pub(crate) resident_mib: f64,
    /// The most that was ever resident, in MiB.
    pub(crate) peak_mib: f64,
}

impl Memory {
    /// Reads it from the kernel.
    pub(crate) fn of_this_process() -> Outcome<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let mib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
        };
        Ok(Self { resident_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:") })
    }
}

/// Returns the bytes that a directory takes on the disk.
pub(crate) fn disk_bytes(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { disk_bytes(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}

/// What must be reached.
pub(crate) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One claim, measured.
pub(crate) struct Line<'a> {
    /// What was measured.
    pub(crate) work: &'a str,
    /// Our figures, with their unit.
    pub(crate) ours: String,
    /// The peer's.
    pub(crate) peer: String,
    /// What is held against the target: a ratio, or our own figure where the target is absolute.
    pub(crate) value: f64,
    /// The target, if the design names one.
    pub(crate) target: Option<Target>,
}

/// Prints the head of the table.
pub(crate) fn head() {
    say("| work | ours | peer | ratio or figure | target | verdict | load |");
    say("|---|---|---|---|---|---|---|");
}

impl Line<'_> {
    /// Prints it as a row of the table.
    pub(crate) fn print(&self) {
        let (target, verdict) = match self.target {
            Some(Target::AtLeast(bound)) => (format!("at least {bound}"), self.value >= bound),
            Some(Target::AtMost(bound)) => (format!("at most {bound}"), self.value <= bound),
            None => ("none".to_owned(), true),
        };
        let verdict = match (&self.target, verdict) {
            (None, _) => "",
            (Some(_), true) => "kept",
            (Some(_), false) => "missed",
        };
        say(&format!(
            "| {} | {} | {} | {:.2} | {target} | {verdict} | {} |",
            self.work,
            self.ours,
            self.peer,
            self.value,
            load()
        ));
    }
}
