//! Events without secrets.

use mask::Masker;

use super::{CacheReport, RunEvent, RunStart};
use crate::process::masking::{self, hide};
use crate::task::Stream;

/// The event as it may be shown. What a task writes is left alone: a secret may begin in one event and end in
/// the next, so its [stream](crate::task_runner) was masked before.
///
/// Every field is named, so that a new one is thought of.
pub fn masked(mut event: RunEvent) -> RunEvent {
    use RunEvent as E;
    if masking::is_idle() {
        return event;
    }
    match &mut event {
        E::TaskOutput { id: _, task, stream: _, text: _ } => hide(task),
        E::RunStarted(start) => {
            let RunStart {
                run: _,
                pipeline,
                file,
                driver,
                version: _,
                host,
                args,
                project,
                commit: _,
            } = &mut **start;
            [pipeline, file, driver, host, project].into_iter().chain(args).for_each(hide);
        }
        E::VolumeCreated { volume, path } => [volume, path].into_iter().for_each(hide),
        E::SourceImported { volume, files: _, bytes: _, duration_ms: _ } => hide(volume),
        E::ArtifactPublished { name, path, files: _, bytes: _ } => {
            [name, path].into_iter().for_each(hide);
        }
        E::CacheRestoring { volume, key, bytes: _ } | E::CachePersisting { volume, key } => {
            [volume, key].into_iter().for_each(hide);
        }
        E::CacheMiss { volume, key, reason } => [volume, key, reason].into_iter().for_each(hide),
        E::CacheProgress { volume, operation: _, bytes: _ } => hide(volume),
        E::CacheFinished(report) => {
            let CacheReport {
                volume,
                operation: _,
                outcome: _,
                key,
                bytes: _,
                content_bytes: _,
                duration_ms: _,
                reason,
            } = report;
            [volume, key, reason].into_iter().for_each(hide);
        }
        E::JobStarted { job } => hide(job),
        E::JobFinished { job, status: _, reasons } => {
            hide(job);
            reasons.iter_mut().for_each(hide);
        }
        E::JobSkipped { job, reason } => [job, reason].into_iter().for_each(hide),
        E::StepStarted { job, step: _, action: _, name, attempt: _ } => {
            [job, name].into_iter().for_each(hide);
        }
        E::StepFinished { job, step: _, status: _ } => hide(job),
        E::TaskQueued { id: _, task, image, command, step: _ }
        | E::TaskStarted { id: _, task, image, command } => {
            [task, image].into_iter().chain(command).for_each(hide);
        }
        E::TaskPreparing { id: _, task, what, done: _ } => [task, what].into_iter().for_each(hide),
        E::TaskSkipped { id: _, task, reason } => [task, reason].into_iter().for_each(hide),
        E::TaskFinished {
            id: _,
            task,
            status: _,
            code: _,
            signal: _,
            duration_ms: _,
            message,
            retried: _,
        } => [task, message].into_iter().for_each(hide),
        E::SandboxOpened { sandbox: _, name, image } => [name, image].into_iter().for_each(hide),
        E::SandboxClosed { sandbox: _, name } => hide(name),
        // It is a stream, too.
        E::Console { stream: _, text: _ } => {}
        E::Notice { message } | E::Warning { message } => hide(message),
        E::RunFinished { status: _, exit_code: _, duration_ms: _, error, diagnostic } => {
            error.iter_mut().for_each(hide);
            diagnostic.iter_mut().for_each(|diagnostic| masking::hide_in(diagnostic));
        }
    }
    event
}

/// What the pipeline writes by `console`, without secrets. It may print what a task has written as that comes, in
/// pieces.
#[derive(Default)]
pub struct ConsoleMask {
    stdout: Option<Masker>,
    stderr: Option<Masker>,
}

impl ConsoleMask {
    /// What can be shown of a text and what came before it. Empty if all of it may begin a secret.
    pub fn shown(&mut self, stream: Stream, text: String) -> String {
        let masker = self.of(stream);
        if masker.is_none() {
            *masker = masking::stream();
        }
        let Some(masker) = masker else { return text };
        let mut shown = Vec::with_capacity(text.len());
        masker.push(text.as_bytes(), &mut shown);
        masker.flush_idle(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// What was held back and is no secret after all, since nothing follows.
    pub fn rest(&mut self, stream: Stream) -> String {
        let mut shown = Vec::new();
        if let Some(masker) = self.of(stream) {
            masker.flush_cut(&mut shown);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn of(&mut self, stream: Stream) -> &mut Option<Masker> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
