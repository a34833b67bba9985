//! What the cache did, as lines and as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration::human;
use super::label::escape;
use super::size::human_size;
use super::style::{self, Paint};
use super::table;
use crate::event::{CacheOperation, CacheOutcome, CacheReport, RunEvent};

/// What happens now, for events of the cache that are worth a line of the log.
pub fn line(event: &RunEvent) -> Option<String> {
    let (what, volume, detail) = match event {
        RunEvent::CacheRestoring { volume, key, bytes } => {
            ("restoring volume from cache", volume, format!("{key}, {}", human_size(*bytes)))
        }
        RunEvent::CacheMiss { volume, reason, .. } => ("cache miss", volume, reason.clone()),
        RunEvent::CachePersisting { volume, key } => {
            ("persisting volume to cache", volume, key.clone())
        }
        _ => return None,
    };
    Some(format!("* {what}: `{}` ({})", escape(volume), escape(&detail)))
}

/// A line for each volume that has to do with the cache.
#[derive(Default)]
pub struct CacheTable {
    volumes: BTreeMap<String, Ends>,
}

/// How the restore and the persist of a volume ended.
#[derive(Default)]
struct Ends {
    restore: Option<CacheReport>,
    persist: Option<CacheReport>,
}

impl CacheTable {
    pub fn add(&mut self, report: CacheReport) {
        let ends = self.volumes.entry(report.volume.clone()).or_default();
        match report.operation {
            CacheOperation::Restore => ends.restore = Some(report),
            CacheOperation::Persist => ends.persist = Some(report),
        }
    }

    pub fn render(&self, paint: Paint) -> String {
        if self.volumes.is_empty() {
            return String::new();
        }
        let mut rows = Vec::new();
        let mut styles = vec![style::QUIET];
        for (volume, ends) in &self.volumes {
            let cell = |end: &Option<CacheReport>| end.as_ref().map_or_else(|| "-".into(), told);
            rows.push([escape(volume), cell(&ends.restore), cell(&ends.persist)]);
            let failed = [&ends.restore, &ends.persist]
                .into_iter()
                .flatten()
                .any(|end| end.outcome == CacheOutcome::Failed);
            styles.push(if failed { style::BAD } else { anstyle::Style::new() });
        }
        let lines = table::lines(["CACHE", "RESTORED", "PERSISTED"], rows);
        paint.lines(lines.zip(styles))
    }
}

/// `hit 12.3 MiB in 0.4s, 30.1 MB/s`, `failed: no space left`.
fn told(report: &CacheReport) -> String {
    let mut text = word(report.outcome).to_owned();
    if report.bytes > 0 {
        text.push_str(&format!(" {}", human_size(report.bytes)));
    }
    // The time to find out that nothing is to be done says nothing.
    if report.duration_ms > 0 && report.outcome != CacheOutcome::Skipped {
        text.push_str(&format!(" in {}", human(Duration::from_millis(report.duration_ms))));
    }
    if report.bytes > 0 && report.duration_ms > 0 {
        // Bytes in a millisecond are thousands in a second.
        let rate = report.bytes as f64 / report.duration_ms as f64 / 1000.0;
        text.push_str(&format!(", {rate:.1} MB/s"));
    }
    if !report.reason.is_empty() {
        text.push_str(&format!(": {}", escape(&report.reason)));
    }
    text
}

/// The same word as in the JSON events.
fn word(outcome: CacheOutcome) -> &'static str {
    match outcome {
        CacheOutcome::Hit => "hit",
        CacheOutcome::Fallback => "fallback",
        CacheOutcome::Miss => "miss",
        CacheOutcome::Unchanged => "unchanged",
        CacheOutcome::Uploaded => "uploaded",
        CacheOutcome::Failed => "failed",
        CacheOutcome::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(volume: &str, operation: CacheOperation, outcome: CacheOutcome) -> CacheReport {
        CacheReport {
            volume: volume.into(),
            operation,
            outcome,
            key: format!("app/{volume}.tar.zst"),
            bytes: 0,
            content_bytes: 0,
            duration_ms: 0,
            reason: String::new(),
        }
    }

    #[test]
    fn a_volume_is_a_line() {
        use CacheOperation::{Persist, Restore};
        let mut table = CacheTable::default();
        let hit = report("npm", Restore, CacheOutcome::Hit);
        table.add(CacheReport { bytes: 12 << 20, duration_ms: 400, ..hit });
        let unchanged = report("npm", Persist, CacheOutcome::Unchanged);
        table.add(CacheReport { duration_ms: 20, ..unchanged });
        table.add(report("go", Restore, CacheOutcome::Miss));
        let failed = report("go", Persist, CacheOutcome::Failed);
        table.add(CacheReport { reason: "access denied\nreally".into(), ..failed });
        let skipped = report("pip", Persist, CacheOutcome::Skipped);
        table.add(CacheReport { duration_ms: 3, reason: "it is empty".into(), ..skipped });
        assert_eq!(
            table.render(Paint { color: false }),
            "\
CACHE  RESTORED                          PERSISTED
go     miss                              failed: access denied\\nreally
npm    hit 12.0 MiB in 400ms, 31.5 MB/s  unchanged in 20ms
pip    -                                 skipped: it is empty
"
        );
    }

    #[test]
    fn lines_say_what_people_search_for() {
        let restoring = RunEvent::CacheRestoring {
            volume: "npm".into(),
            key: "app/npm.tar.zst".into(),
            bytes: 1536,
        };
        assert_eq!(
            line(&restoring).as_deref(),
            Some("* restoring volume from cache: `npm` (app/npm.tar.zst, 1.5 KiB)")
        );
        let miss = RunEvent::CacheMiss {
            volume: "npm".into(),
            key: "app/npm.tar.zst".into(),
            reason: "no `app/npm.tar.zst`".into(),
        };
        assert_eq!(line(&miss).as_deref(), Some("* cache miss: `npm` (no `app/npm.tar.zst`)"));
    }
}
