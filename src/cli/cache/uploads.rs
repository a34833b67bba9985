use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;

use super::archives::{age, json, moment, table};
use super::{Failure, RemovalArgs, StoreArgs, age_argument, confirmed, failed, print, wrong};
use crate::report::counted;
use store::{UploadInfo, UploadWriter, printable};

/// Lists uploads that have begun and not ended, and aborts them on request.
///
/// Only uploads to keys of archives are shown. A server does not tell who began an upload, so those of
/// another machine look the same whether it still works on them or not: choose an age that no upload
/// reaches.
#[derive(Args)]
pub struct Uploads {
    /// Only those that began so long ago, such as `1d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = age_argument)]
    older_than: Option<Duration>,

    /// Abort them, after asking; `--yes` aborts without asking
    #[arg(long)]
    abort: bool,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    how: RemovalArgs,
}

/// The JSON of an upload.
#[derive(Serialize)]
struct Described<'a> {
    key: &'a str,
    id: &'a str,
    begun: String,
    age_seconds: u64,
    writer: &'static str,
}

impl Uploads {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let prefix = opened.config.key_prefix().map_err(|error| wrong(error.to_string()))?;
        let mut uploads = opened.store.uploads(&prefix).await.map_err(failed)?;
        if !opened.config.prefix.is_empty() {
            uploads
                .retain(|upload| prefix.below(&upload.key).is_some_and(|name| !name.contains('/')));
        }
        if let Some(older_than) = self.older_than {
            uploads.retain(|upload| age_of(upload) >= older_than);
        }
        self.show(&uploads)?;
        // What a process of this machine works on is never aborted.
        uploads.retain(|upload| upload.writer != UploadWriter::Alive);
        if uploads.is_empty() || !(self.abort || self.how.yes || self.how.dry_run) {
            return Ok(());
        }
        let what = counted(uploads.len() as u64, "upload", "uploads");
        if self.how.dry_run {
            return self.how.say(&format!("would abort {what}\n"));
        }
        if !self.how.yes && !confirmed(&format!("abort {what}?"), "abort them")? {
            return self.how.say("nothing was aborted\n");
        }
        let mut aborted = 0;
        for upload in &uploads {
            aborted += u64::from(opened.store.abort_upload(upload).await.map_err(failed)?);
        }
        self.how.say(&format!("aborted {}\n", counted(aborted, "upload", "uploads")))
    }

    fn show(&self, uploads: &[UploadInfo]) -> Result<(), Failure> {
        if self.how.json {
            return json(&uploads.iter().map(described).collect::<Vec<_>>());
        }
        if uploads.is_empty() {
            return print("no upload is unfinished\n");
        }
        let rows = uploads.iter().map(|upload| {
            [printable(upload.key.as_str()), age(age_of(upload)), writer(upload).to_owned()]
        });
        table(["UPLOAD", "AGE", "WRITER"], rows.collect())
    }
}

fn described(upload: &UploadInfo) -> Described<'_> {
    Described {
        key: upload.key.as_str(),
        id: &upload.id,
        begun: moment(upload.begun),
        age_seconds: age_of(upload).as_secs(),
        writer: writer(upload),
    }
}

fn writer(upload: &UploadInfo) -> &'static str {
    match upload.writer {
        UploadWriter::Alive => "running on this machine",
        UploadWriter::Gone => "killed on this machine",
        UploadWriter::Unknown => "unknown",
    }
}

fn age_of(upload: &UploadInfo) -> Duration {
    let age = SystemTime::now().duration_since(upload.begun).unwrap_or_default();
    Duration::from_secs(age.as_secs())
}
