//! The table and the last line of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cache::CacheTable;
use super::count::counted;
use super::duration::human;
use super::label::escape;
use super::size::human_size;
use super::style::{self, Paint};
use super::table;
use crate::event::{CacheReport, RunStatus, TaskStatus};

/// Most tasks that the table shows. What more there are is only counted, so that a run of millions
/// of tasks ends with a page.
const MAX_ROWS: usize = 50;

/// How the tasks of a run ended.
///
/// Tasks that did not succeed are shown first of all and stand last, next to the line that says how
/// the run ended; within the two groups tasks stand in the order in which they were asked for.
#[derive(Default)]
pub struct Summary {
    good: Rows,
    bad: Rows,
    counts: Counts,
    caches: CacheTable,
    /// Of each name the last one.
    artifacts: BTreeMap<String, [String; 3]>,
}

/// The end of one task.
pub struct Row {
    pub label: String,
    pub status: TaskStatus,
    /// Whether it failed and was tried again, which makes it no failure.
    pub retried: bool,
    /// Such as `2` or `137 (SIGKILL)`.
    pub code: String,
    pub duration: Duration,
}

/// The rows of the lowest ids.
type Rows = BTreeMap<u64, Row>;

impl Summary {
    pub fn add(&mut self, id: u64, row: Row) {
        *self.counts.of(&row) += 1;
        let rows = if row.is_bad() { &mut self.bad } else { &mut self.good };
        rows.insert(id, row);
        if rows.len() > MAX_ROWS {
            rows.pop_last();
        }
    }

    pub fn add_cache(&mut self, report: CacheReport) {
        self.caches.add(report);
    }

    pub fn add_artifact(&mut self, name: &str, path: &str, bytes: u64) {
        let cells = [escape(name), human_size(bytes), escape(path)];
        self.artifacts.insert(name.to_owned(), cells);
    }

    /// The text that ends the output of a run.
    pub fn render(&self, status: RunStatus, duration: Duration, paint: Paint) -> String {
        let mut text = String::new();
        if self.counts.total() > 0 {
            text.push('\n');
            text.push_str(&self.table(paint));
            text.push('\n');
        }
        for table in [self.caches.render(paint), self.artifacts(paint)] {
            if table.is_empty() {
                continue;
            }
            if text.is_empty() {
                text.push('\n');
            }
            text.push_str(&table);
            text.push('\n');
        }
        let (ended, color) = match status {
            RunStatus::Success => ("succeeded in", style::GOOD),
            RunStatus::Failure | RunStatus::Error => ("failed in", style::BAD),
            RunStatus::Abort => ("aborted after", style::BAD),
        };
        let line = format!("run {ended} {}: {}", human(duration), self.counts.all());
        text.push_str(&paint.text(color, &line));
        text.push('\n');
        text
    }

    fn artifacts(&self, paint: Paint) -> String {
        if self.artifacts.is_empty() {
            return String::new();
        }
        let rows: Vec<[String; 3]> = self.artifacts.values().take(MAX_ROWS).cloned().collect();
        let lines = table::lines(["ARTIFACT", "SIZE", "PATH"], rows);
        let mut text = paint.lines(lines.zip(std::iter::repeat(style::QUIET)));
        let left_out = self.artifacts.len().saturating_sub(MAX_ROWS);
        if left_out > 0 {
            text.push_str(&format!("... and {left_out} more\n"));
        }
        text
    }

    fn table(&self, paint: Paint) -> String {
        let good = self.good.values().take(MAX_ROWS - self.bad.len());
        let mut rows = Vec::new();
        let mut left_out = self.counts;
        let mut styles = vec![style::QUIET];
        for row in good.chain(self.bad.values()) {
            let (status, duration) = (row.word().to_owned(), human(row.duration));
            rows.push([row.label.clone(), status, row.code.clone(), duration]);
            styles.push(match row.status {
                _ if row.is_bad() => style::BAD,
                TaskStatus::Success => style::GOOD,
                _ => style::NOTICE,
            });
            *left_out.of(row) -= 1;
        }
        let lines = table::lines(["TASK", "STATUS", "CODE", "DURATION"], rows);
        let mut text = paint.lines(lines.zip(styles));
        if left_out.total() > 0 {
            let line = format!("... and {} more: {}\n", left_out.total(), left_out.each());
            text.push_str(&line);
        }
        text
    }
}

impl Row {
    /// Whether it is a reason to look at the run.
    fn is_bad(&self) -> bool {
        self.status != TaskStatus::Success && !self.retried
    }

    /// The same word as in the JSON events, as far as it is the last of its attempts.
    fn word(&self) -> &'static str {
        match self.status {
            TaskStatus::Success => "success",
            _ if self.retried => "retried",
            TaskStatus::Failure => "failure",
            TaskStatus::Abort => "abort",
            TaskStatus::Error => "error",
        }
    }
}

/// How many tasks ended in which way.
#[derive(Clone, Copy, Default)]
struct Counts {
    succeeded: u64,
    retried: u64,
    failed: u64,
    aborted: u64,
    not_started: u64,
}

impl Counts {
    fn of(&mut self, row: &Row) -> &mut u64 {
        match row.status {
            TaskStatus::Success => &mut self.succeeded,
            _ if row.retried => &mut self.retried,
            TaskStatus::Failure => &mut self.failed,
            TaskStatus::Abort => &mut self.aborted,
            TaskStatus::Error => &mut self.not_started,
        }
    }

    fn total(&self) -> u64 {
        self.succeeded + self.retried + self.failed + self.aborted + self.not_started
    }

    /// `12 tasks, 1 failed`.
    fn all(&self) -> String {
        let tasks = match self.total() {
            0 => "no tasks".to_owned(),
            total => counted(total, "task", "tasks"),
        };
        let bad = Self { succeeded: 0, ..*self }.each();
        if bad.is_empty() { tasks } else { format!("{tasks}, {bad}") }
    }

    /// `9 succeeded, 1 failed`: each way in which tasks ended.
    fn each(&self) -> String {
        let ways = [
            (self.succeeded, "succeeded"),
            (self.retried, "retried"),
            (self.failed, "failed"),
            (self.aborted, "aborted"),
            (self.not_started, "not run"),
        ];
        let found = ways.into_iter().filter(|(count, _)| *count > 0);
        let texts: Vec<_> = found.map(|(count, way)| format!("{count} {way}")).collect();
        texts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { color: false };

    fn row(label: &str, status: TaskStatus, code: &str, millis: u64) -> Row {
        let duration = Duration::from_millis(millis);
        Row { label: label.to_owned(), status, retried: false, code: code.to_owned(), duration }
    }

    fn render(summary: &Summary, status: RunStatus) -> String {
        summary.render(status, Duration::from_millis(3_400), PLAIN)
    }

    #[test]
    fn failures_stand_last() {
        let mut summary = Summary::default();
        summary.add(3, row("pack", TaskStatus::Success, "0", 2_000));
        summary.add(2, row("test 漢字", TaskStatus::Failure, "137 (SIGKILL)", 1_200));
        summary.add(1, row("build", TaskStatus::Success, "0", 12));
        summary.add(4, row("push", TaskStatus::Abort, "-", 30_000));
        assert_eq!(
            render(&summary, RunStatus::Failure),
            "
TASK       STATUS   CODE           DURATION
build      success  0              12ms
pack       success  0              2.0s
test 漢字  failure  137 (SIGKILL)  1.2s
push       abort    -              30s

run failed in 3.4s: 4 tasks, 1 failed, 1 aborted
"
        );
    }

    #[test]
    fn a_run_without_tasks_is_one_line() {
        let summary = Summary::default();
        assert_eq!(render(&summary, RunStatus::Success), "run succeeded in 3.4s: no tasks\n");
        assert_eq!(render(&summary, RunStatus::Abort), "run aborted after 3.4s: no tasks\n");
    }

    #[test]
    fn what_was_tried_again_is_no_failure() {
        let mut summary = Summary::default();
        summary.add(1, Row { retried: true, ..row("flaky", TaskStatus::Failure, "7", 12) });
        summary.add(2, row("flaky", TaskStatus::Success, "0", 12));
        assert_eq!(
            render(&summary, RunStatus::Success),
            "
TASK   STATUS   CODE  DURATION
flaky  retried  7     12ms
flaky  success  0     12ms

run succeeded in 3.4s: 2 tasks, 1 retried
"
        );
    }

    #[test]
    fn one_task_is_not_tasks() {
        let mut summary = Summary::default();
        summary.add(1, row("a", TaskStatus::Error, "-", 0));
        assert!(render(&summary, RunStatus::Failure).ends_with(": 1 task, 1 not run\n"));
    }

    #[test]
    fn a_long_table_shows_failures_and_the_first_tasks() {
        let mut summary = Summary::default();
        for id in (1..=10_000).rev() {
            let failed = id > 9_990;
            let status = if failed { TaskStatus::Failure } else { TaskStatus::Success };
            summary.add(id, row(&format!("t{id}"), status, "0", 1));
        }
        let text = render(&summary, RunStatus::Failure);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 1 + MAX_ROWS + 1 + 1 + 1);
        assert!(lines[2].starts_with("t1 "));
        assert!(lines[41].starts_with("t40 "));
        assert!(lines[42].starts_with("t9991 "));
        assert_eq!(lines[52], "... and 9950 more: 9950 succeeded");
        assert_eq!(lines[54], "run failed in 3.4s: 10000 tasks, 10 failed");
    }

    #[test]
    fn failures_are_bounded_too() {
        let mut summary = Summary::default();
        for id in 1..=100 {
            summary.add(id, row("t", TaskStatus::Failure, "1", 1));
        }
        summary.add(101, row("good", TaskStatus::Success, "0", 1));
        let text = render(&summary, RunStatus::Failure);
        assert_eq!(text.matches("failure").count(), MAX_ROWS);
        assert!(text.contains("... and 51 more: 1 succeeded, 50 failed\n"), "{text}");
    }
}
