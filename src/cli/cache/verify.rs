use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::archives::{Archive, json, table};
use super::{Failure, Opened, Problem, StoreArgs, failed, unavailable};
use crate::report::{counted, human_size};
use archive::{self, Budget, Control, Unpacked};
use store::printable;
use transfer::{Downloaded, Format};

/// Reads every byte of archives and says which ones cannot be restored.
#[derive(Args)]
pub struct Verify {
    /// Names of volumes, or of archives as `ls` shows them; all when none is named
    names: Vec<String>,

    #[command(flatten)]
    store: StoreArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Memory for the content of an archive that is being read, in bytes.
const MEMORY: usize = 128 << 20;

#[derive(Serialize)]
struct Verified {
    key: String,
    ok: bool,
    entries: u64,
    content_bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
}

impl Verify {
    pub async fn execute(self) -> Result<(), Failure> {
        let opened = self.store.open()?;
        let archives = match self.names.as_slice() {
            [] => opened.archives().await?,
            names => opened.named(names).await?,
        };
        let mut results = Vec::new();
        for archive in &archives {
            results.push(verify(&opened, archive).await?);
        }
        if self.json {
            json(&results)?;
        } else {
            let rows = archives.iter().zip(&results).map(|(archive, result)| {
                let problem = match result.ok {
                    true => "ok".to_owned(),
                    false => result.problem.clone(),
                };
                let (entries, content) =
                    (result.entries.to_string(), human_size(result.content_bytes));
                [printable(&archive.shown), entries, content, printable(&problem)]
            });
            table(["ARCHIVE", "ENTRIES", "CONTENT", "RESULT"], rows.collect())?;
        }
        match results.iter().filter(|result| !result.ok).count() {
            0 => Ok(()),
            bad => Err(Failure {
                problem: Problem::Other(anyhow!(
                    "{bad} of {} cannot be restored, remove what is broken with `ci cache rm`",
                    counted(results.len() as u64, "archive", "archives")
                )),
                exit_code: 1,
            }),
        }
    }
}

async fn verify(opened: &Opened, archive: &Archive) -> Result<Verified, Failure> {
    let result = match archive.compression() {
        None => Err("its name is none of an archive".to_owned()),
        Some(compression) => {
            let found = opened.store.get(&archive.info.key).await.map_err(failed)?;
            match found {
                None => Err("it was removed meanwhile".to_owned()),
                Some((info, download)) => {
                    let budget = Budget::new(MEMORY);
                    let options =
                        Format::from(&opened.config).unpack_options(&info.metadata, budget);
                    let mut source = Downloaded::new(download);
                    tokio::task::spawn_blocking(move || {
                        archive::verify(&mut source, compression, &options, &Control::new())
                            .map_err(|error| error.to_string())
                    })
                    .await
                    .map_err(|error| unavailable(error.to_string()))?
                }
            }
        }
    };
    let key = archive.info.key.to_string();
    Ok(match result {
        Ok(Unpacked { entries, bytes, .. }) => {
            Verified { key, ok: true, entries, content_bytes: bytes, problem: String::new() }
        }
        Err(problem) => Verified { key, ok: false, entries: 0, content_bytes: 0, problem },
    })
}
